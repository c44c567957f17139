import Glibc
import Testing

@testable import EventLoop

@Suite struct SocketTests {
    @Test func localHostIsThisEndsAddress() throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let listener = Socket(descriptor: listening.descriptor)
        defer { listener.close() }
        #expect(listener.localHost == "127.0.0.1")
    }

    @Test func unixSocketAndClosedDescriptorHaveNoLocalHost() {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let unix = Socket(descriptor: descriptor)
        #expect(unix.localHost == nil)
        unix.close()
        #expect(Socket(descriptor: -1).localHost == nil)
    }
}

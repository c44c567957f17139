import EventLoop
import Glibc
import Testing

@testable import Gateway

@Suite struct NotifySocketTests {
    /// The manager's end: a bound datagram socket.
    private final class Receiver {
        let descriptor: Int32

        init(abstract name: String) throws {
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: [0] + Array(name.utf8)) }
            let length = socklen_t(2 + 1 + name.utf8.count)
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
            }
            try #require(bound == 0)
        }

        deinit { close(descriptor) }

        /// What has come; empty when nothing has.
        func receive() -> String {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
    }

    @Test func assignmentsComeAsOneDatagramOfLines() throws {
        let name = "roomcast-\(UInt64.random(in: .min ... .max))"
        let receiver = try Receiver(abstract: name)
        #expect(try NotifySocket("@\(name)").send(["STOPPING=1", "STATUS=draining 3 connections"]))
        #expect(receiver.receive() == "STOPPING=1\nSTATUS=draining 3 connections")
        #expect(receiver.receive() == "")
    }

    @Test func fullQueueIsNotWaitedFor() throws {
        let name = "roomcast-\(UInt64.random(in: .min ... .max))"
        let receiver = try Receiver(abstract: name)
        let socket = try NotifySocket("@\(name)")
        var sentCount = 0
        while try socket.send(["STATUS=\(sentCount)"]) {
            sentCount += 1
            try #require(sentCount < 1_000_000, "the queue has no end")
        }
        #expect(sentCount > 0)
        #expect(receiver.receive() == "STATUS=0")
        #expect(try socket.send(["STATUS=again"]))
    }

    /// A manager that is busy gets the newest of each state when it reads again, and a start is never lost.
    @Test func statesThatAFullQueueDidNotTakeAreSentLater() throws {
        let name = "roomcast-\(UInt64.random(in: .min ... .max))"
        let receiver = try Receiver(abstract: name)
        while try NotifySocket("@\(name)").send(["FILLER=1"]) {}
        let loop = try EventLoop()
        let states = ServiceStates(
            socketName: "@\(name)", loop: loop, log: Log(level: .error, format: .text, nodeID: "n1"))
        states.readiness(["redis is away"])
        states.readiness([])
        var received: [String] = []
        let reader = Timer(on: loop, repeating: true) {
            while true {
                let datagram = receiver.receive()
                guard !datagram.isEmpty else { return }
                if datagram != "FILLER=1" { received.append(datagram) }
                if datagram.contains("READY=1") { loop.stop() }
            }
        }
        reader.start(after: .milliseconds(10))
        loop.run()
        #expect(received == ["STATUS=ready\nREADY=1"])
    }

    /// A path needs its zero byte within the 108 of an address, an abstract name has one in front.
    @Test(arguments: [("/", 107, true), ("/", 108, false), ("@", 108, true), ("@", 109, false)])
    func addressHasToFit(start: String, byteCount: Int, fits: Bool) {
        let value = start + String(repeating: "x", count: byteCount - 1)
        #expect(((try? NotifySocket(value)) != nil) == fits)
    }

    @Test(arguments: ["", "/", "@", "relative", "vsock:2:1234"])
    func whatIsNoAddressIsRefused(value: String) {
        #expect(throws: SystemError.self) { try NotifySocket(value) }
    }

    @Test func socketThatIsGoneIsAnError() throws {
        let socket = try NotifySocket("@roomcast-\(UInt64.random(in: .min ... .max))")
        #expect(throws: SystemError(ECONNREFUSED, "sendto NOTIFY_SOCKET")) {
            _ = try socket.send(["READY=1"])
        }
    }
}

// Requests over a connection that the server ends at the worst moment.
import EventLoop
import Foundation
import Network
import Testing

@testable import LoadTest

@Suite struct HttpClientTests {
    /// Takes connections one after the other; each gets so many answers and is closed at the next request.
    ///
    /// - Parameter isEager: each connection gets a 503 at once, and nothing is read from it.
    static func serve(answerCounts: [Int], isEager: Bool = false) throws -> Int {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name -> Bool in
                bind(listener, name, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, name, &length) == 0
            }
        }
        try #require(isListening)
        Thread.detachNewThread {
            var refused: [Int32] = []
            for count in answerCounts {
                let connection = accept(listener, nil, nil)
                if isEager {
                    let refusal = Array("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".utf8)
                    _ = write(connection, refusal, refusal.count)
                    refused.append(connection)
                    continue
                }
                for number in 0...count {
                    var seen: [UInt8] = []
                    var byte: UInt8 = 0
                    while !seen.suffix(4).elementsEqual("\r\n\r\n".utf8), read(connection, &byte, 1) == 1 {
                        seen.append(byte)
                    }
                    guard number < count else { break }
                    let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".utf8)
                    _ = write(connection, answer, answer.count)
                }
                close(connection)
            }
            for connection in refused { close(connection) }
            close(listener)
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Asks three times, one after the other.
    private func answers(_ answerCounts: [Int]) throws -> (names: [String], connectionCount: Int) {
        let port = try Self.serve(answerCounts: answerCounts)
        let loop = try EventLoop()
        let client = HttpClient(try Destination(try #require(Endpoint("127.0.0.1:\(port)"))), loop: loop)
        var names: [String] = []
        func ask() {
            client.get("/heartbeat?token=x") { answer in
                names.append(answer.name)
                if names.count == 3 { loop.stop() } else { ask() }
            }
        }
        ask()
        loop.run()
        return (names, client.connectionCount)
    }

    @Test func requestOnAConnectionThatEndsIsSentOnceMore() throws {
        let (names, connectionCount) = try answers([1, 2])
        #expect(names == ["200", "200", "200"])
        #expect(connectionCount == 2)
    }

    @Test func serverThatAnswersNothingIsAskedOnce() throws {
        let (names, connectionCount) = try answers([0, 0, 1])
        #expect(names[0] != "200" && names[1] != "200" && names[2] == "200")
        #expect(connectionCount == 3)
    }
}

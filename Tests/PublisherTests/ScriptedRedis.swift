// A server that speaks just enough of Redis' protocol to be as unkind as a test wants.
import EventLoop
import Foundation
import Synchronization

/// Takes one connection, keeps its role to itself, and answers a number of PUBLISH, each with `:1`. What comes then
/// gets no answer.
final class ScriptedRedis: Sendable {
    enum Ending { case silence, close }

    let port: Int
    private let received = Mutex<[String]>([])
    private let descriptors = Mutex<[Int32]>([])

    /// The payloads of PUBLISH that have come, answered or not.
    var payloads: [String] { received.withLock { $0 } }

    init(answering answerCount: Int, then ending: Ending, reply: String = ":1\r\n") throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        port = Int(listening.port)
        let descriptor = listening.descriptor
        // The listener does not block, for a loop; here a thread waits for it.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        descriptors.withLock { $0 = [descriptor] }
        Thread.detachNewThread { [self] in
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else { return }
            serve(connection, answerCount, reply)
            // Only this direction: with bytes unread a whole close would take back the answers that are
            // under way.
            if ending == .close { shutdown(connection, Int32(SHUT_WR)) }
            var (byte, rest): (UInt8, [UInt8]) = (0, [])
            while read(connection, &byte, 1) > 0 { take(byte, &rest) }
            close(connection)
        }
    }

    deinit { for descriptor in descriptors.withLock({ $0 }) { shutdown(descriptor, Int32(SHUT_RDWR)) } }

    private func serve(_ connection: Int32, _ answerCount: Int, _ reply: String) {
        var (byte, rest): (UInt8, [UInt8]) = (0, [])
        while rest != Array("*1\r\n$4\r\nROLE\r\n".utf8) {
            guard read(connection, &byte, 1) > 0 else { return }
            rest.append(byte)
        }
        _ = "-NOPERM no\r\n".withCString { write(connection, $0, strlen($0)) }
        rest = []
        var answered = 0
        while answered < answerCount {
            guard read(connection, &byte, 1) > 0 else { return }
            guard take(byte, &rest) else { continue }
            _ = reply.withCString { write(connection, $0, strlen($0)) }
            answered += 1
        }
    }

    /// Whether a command is complete: `*3`, and three times `$n` and a text without line feeds.
    @discardableResult
    private func take(_ byte: UInt8, _ rest: inout [UInt8]) -> Bool {
        rest.append(byte)
        let lines = rest.split(separator: 0x0A, omittingEmptySubsequences: false)
        guard byte == 0x0A, lines.count == 8 else { return false }
        received.withLock { $0.append(String(decoding: lines[6].dropLast(), as: UTF8.self)) }
        rest = []
        return true
    }
}

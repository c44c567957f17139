import EventLoop
import Glibc
import Testing

@testable import Gateway

@Suite struct LogWriterTests {
    /// A pipe that somebody reads, or does not.
    private final class Pipe {
        let (reading, writing): (Int32, Int32)

        init() throws {
            var ends: [Int32] = [0, 0]
            try #require(pipe(&ends) == 0)
            (reading, writing) = (ends[0], ends[1])
        }

        /// Reads until `text` has come.
        func read(until text: String) -> String {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            while !String(decoding: bytes, as: UTF8.self).contains(text) {
                let count = Glibc.read(reading, &buffer, buffer.count)
                guard count > 0 else { break }
                bytes += buffer[..<count]
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test func linesComeWholeAndInOrder() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing)
        for number in 0..<1_000 { writer.write(Array("line \(number)\n".utf8)) }
        let lines = pipe.read(until: "line 999\n").split(separator: "\n")
        #expect(lines == (0..<1_000).map { "line \($0)" })
        #expect(writer.flush(within: .seconds(240)))
        #expect(writer.droppedCount == 0)
    }

    /// The pipe takes 64 KiB, the writer 256 KiB: whoever logs beyond that goes on all the same.
    @Test func unreadLogDropsLinesAndSaysSoWhenItIsReadAgain() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing)
        let log = Log(level: .info, format: .text, nodeID: "n1", writer: writer)
        var writtenCount = 0
        while writer.droppedCount < 10 {
            log.info("nobody reads this", ["number": "\(writtenCount)"])
            writtenCount += 1
            try #require(writtenCount < 1_000_000, "nothing is ever dropped")
        }
        #expect(log.droppedCount == 10)
        #expect(!writer.flush(within: .milliseconds(20)))
        let last = writtenCount - 11
        let before = pipe.read(until: "number=\(last) ")
        #expect(before.contains("number=0 "))
        #expect(before.utf8.count >= Limits.pendingLogBytes)
        #expect(writer.flush(within: .seconds(240)))
        log.info("read again")
        let after = pipe.read(until: "read again")
        #expect(after.contains("warning log lines dropped count=10 node=n1\n"))
        log.info("only once")
        #expect(!pipe.read(until: "only once").contains("dropped"))
    }

    @Test func writersOfSeveralThreadsDoNotMixTheirLines() throws {
        let pipe = try Pipe()
        let writer = LogWriter(descriptor: pipe.writing)
        let threads = try (0..<4).map { index in
            try LoopThread(name: "logger \(index)") { _ in
                for number in 0..<500 { writer.write(Array("\(index) \(number)\n".utf8)) }
            }
        }
        var next = [0, 0, 0, 0]
        var text = ""
        while next.reduce(0, +) < 2_000 {
            text += pipe.read(until: "\n")
            while let end = text.firstIndex(of: "\n") {
                let parts = text[..<end].split(separator: " ").compactMap { Int($0) }
                try #require(parts.count == 2 && next.indices.contains(parts[0]))
                #expect(parts[1] == next[parts[0]])
                next[parts[0]] += 1
                text = String(text[text.index(after: end)...])
            }
        }
        for thread in threads { thread.join() }
    }
}

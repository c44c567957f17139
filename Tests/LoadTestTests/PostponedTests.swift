// What is tried later because a server asked for it, and when it is given up.
import EventLoop
import HTTP
import Testing

@testable import LoadTest

@Suite struct PostponedTests {
    private let start = MonotonicInstant(nanoseconds: 0)
    private func second(_ number: Double) -> MonotonicInstant { start + .milliseconds(Int64(number * 1000)) }

    private func wait(_ statusCode: Int, _ field: String) throws -> Duration? {
        let text = "HTTP/1.1 \(statusCode) Some Words\r\n\(field)\r\n\r\n"
        let parsed = Array(text.utf8).withUnsafeBytes { HttpResponseHead.parse($0, maximumBytes: 1 << 10) }
        guard case .complete(let head) = parsed else { throw CancellationError() }
        return Postponed.wait(statusCode: head.statusCode, fields: head.fields)
    }

    @Test(arguments: [
        (429, "Retry-After: 1", 1), (503, "retry-after: 7", 7), (503, "Retry-After: 0", 0),
        (429, "Retry-After: 86400", 10), (429, "Retry-After: 99999999999999999999999", 10),
    ])
    func secondsAreReadAndBounded(statusCode: Int, field: String, seconds: Int) throws {
        #expect(try wait(statusCode, field) == .seconds(seconds))
    }

    @Test(arguments: [
        (500, "Retry-After: 1"), (401, "Retry-After: 1"), (429, "Server: x"), (429, "Retry-After: -1"),
        (429, "Retry-After: "), (503, "Retry-After: Thu, 01 Jan 2026 00:00:00 GMT"),
    ])
    func anythingElseIsARefusal(statusCode: Int, field: String) throws {
        #expect(try wait(statusCode, field) == nil)
    }

    @Test func nothingIsTriedBeforeItIsTime() {
        var postponed = Postponed(now: start)
        #expect(!postponed.isSilent(at: start))
        let areTaken = [7, 8].map { number in
            postponed.add(number, reason: "429", wait: .seconds(9 - number), at: start)
        }
        #expect(areTaken == [true, true])
        #expect(postponed.isSilent(at: second(1.9)) && !postponed.isSilent(at: second(2)))
        #expect(postponed.counts == ["429": 2] && postponed.count == 2)
        let numbers = (0..<3).map { _ in postponed.next() }
        #expect(Set(numbers) == [7, 8, nil])
    }

    @Test func withoutSuccessItIsGivenUp() {
        var postponed = Postponed(now: start)
        let isTakenWithoutAWait = postponed.add(1, reason: "503", wait: nil, at: start)
        let isTaken = postponed.add(1, reason: "503", wait: .seconds(10), at: second(4))
        let isTakenWithoutSuccess = postponed.add(1, reason: "503", wait: .seconds(1), at: second(14))
        postponed.succeeded(at: second(14))
        let isTakenAfterSuccess = postponed.add(1, reason: "503", wait: .seconds(1), at: second(15))
        #expect(!isTakenWithoutAWait && isTaken && !isTakenWithoutSuccess && isTakenAfterSuccess)
        #expect(postponed.counts == ["503": 2])
    }
}

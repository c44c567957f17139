// Attempts that a server has asked to make later (429 and 503 with Retry-After). Pure: the clock is handed
// in.

import EventLoop
import HTTP

/// Holds numbers of things to try again, and says when. While a server asks for silence nothing is tried,
/// new or old: every other attempt would get the same answer.
struct Postponed: Sendable {
    /// No single wait is longer, whatever a server says.
    static let maximumWait = Duration.seconds(10)
    /// Without any success for so long it is no rush any more but a server that does not work.
    static let maximumSilence = Duration.seconds(15)

    private var numbers: [Int] = []
    private var resumeAt: MonotonicInstant
    private var succeededAt: MonotonicInstant
    /// How often something was postponed, by status code.
    private(set) var counts: [String: Int] = [:]

    init(now: MonotonicInstant) {
        (resumeAt, succeededAt) = (now, now)
    }

    /// How many wait.
    var count: Int { numbers.count }

    func isSilent(at now: MonotonicInstant) -> Bool { now < resumeAt }

    /// Something of the kind has worked.
    mutating func succeeded(at now: MonotonicInstant) { succeededAt = now }

    /// Takes what was refused for now.
    ///
    /// - Parameter wait: what the server asks for; nil when it does not.
    /// - Returns: whether it will be tried again.
    mutating func add(_ number: Int, reason: String, wait: Duration?, at now: MonotonicInstant) -> Bool {
        guard let wait, now + wait < succeededAt + Postponed.maximumSilence else { return false }
        numbers.append(number)
        counts[reason, default: 0] += 1
        resumeAt = max(resumeAt, now + wait)
        return true
    }

    /// - Returns: nil when nothing waits.
    mutating func next() -> Int? { numbers.popLast() }

    /// What an answer asks for: seconds, as servers commonly write it; a date is not read.
    ///
    /// - Returns: nil unless the answer is a 429 or 503 that asks for a time.
    static func wait(statusCode: Int, fields: HttpFields) -> Duration? {
        guard statusCode == 429 || statusCode == 503, let digits = fields.value(of: "Retry-After"),
            !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        // Too many digits for a number are a long time, too.
        return Int(digits).map { min(.seconds(min($0, 3600)), maximumWait) } ?? maximumWait
    }
}

// Waiting for conditions: the only place of these tests that lets time pass.
import Testing

extension Duration {
    /// How long a test waits for what must come. A machine that is merely slow never takes so long; a
    /// product that fails does, and its test with it. Shorter than the `unhurried` limits of a node: what
    /// these would bring about is never mistaken for what was awaited.
    static let patience: Duration = .seconds(240)

    var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}

/// Ends a wait at once: what was awaited cannot come any more.
struct Hopeless: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Asks `condition` again and again until it holds; records a failure when it does not within `patience`. An
/// error that `condition` throws counts as "not yet" (but for `Hopeless`); the last one is part of the
/// failure.
@discardableResult
func eventually(
    _ what: String, within patience: Duration = .patience,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws -> Bool {
    let deadline = ContinuousClock.now + patience
    var lastError: (any Error)?
    repeat {
        do {
            lastError = nil
            if try await condition() { return true }
        } catch let error as Hopeless {
            throw error
        } catch {
            lastError = error
        }
        try await Task.sleep(for: .milliseconds(20))
    } while ContinuousClock.now < deadline
    let reason = lastError.map { ": \($0)" } ?? ""
    Issue.record("not within \(patience): \(what)\(reason)", sourceLocation: sourceLocation)
    return false
}

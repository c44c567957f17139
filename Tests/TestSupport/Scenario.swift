// A loop that is led through steps in the test's own thread. Confined to that thread.

import EventLoop

/// What a test waited for in vain.
package struct NeverHappened: Error, CustomStringConvertible {
    package let description: String
}

/// Runs a loop step by step: each step does something and waits for what it brings about.
package final class Scenario {
    private struct Step {
        let name: String
        let action: () throws -> Void
        let isDone: () throws -> Bool
    }

    /// Far beyond any healthy wait: it turns a hang into a failure.
    private static let patience = Duration.seconds(240)

    package let loop: EventLoop
    private var steps: [Step] = []
    private var next = 0
    private var deadline = MonotonicInstant.now
    private var failure: (any Error)?
    private var hasEnded: Bool { failure != nil || next == steps.count }

    package init() throws {
        loop = try EventLoop()
    }

    /// Adds a step.
    ///
    /// - Parameters:
    ///   - name: what is waited for, as the failure tells it.
    ///   - isDone: asked at the end of each turn until it is true.
    ///   - action: run on the loop when the step before is done.
    package func step(
        _ name: String, until isDone: @escaping () throws -> Bool,
        _ action: @escaping () throws -> Void = {}
    ) {
        steps.append(Step(name: name, action: action, isDone: isDone))
    }

    /// Adds a step that waits for nothing.
    package func then(_ action: @escaping () throws -> Void) {
        step("a turn", until: { true }, action)
    }

    /// Runs the steps that were added. Once for each scenario; an `onTurnEnd` set before stays in force.
    ///
    /// - Throws: what a step throws, or `NeverHappened`.
    package func run() throws {
        let turnEnd = loop.onTurnEnd
        loop.onTurnEnd = { [unowned self] in
            let hasWorkLeft = turnEnd?() ?? false
            self.advance()
            return hasWorkLeft
        }
        // Makes turns, for conditions that nothing on this loop announces.
        let pulse = Timer(on: loop, repeating: true) {}
        pulse.start(after: .milliseconds(5))
        begin()
        if hasEnded { loop.stop() }
        loop.run()
        pulse.cancel()
        // The steps hold what they work on, which may hold this object.
        steps = []
        if let failure { throw failure }
    }

    private func begin() {
        guard next < steps.count else { return loop.stop() }
        deadline = .now + Scenario.patience
        do { try steps[next].action() } catch { fail(error) }
    }

    private func advance() {
        guard !hasEnded else { return }
        do {
            if try steps[next].isDone() {
                next += 1
                begin()
            } else if .now > deadline {
                fail(NeverHappened(description: "never: \(steps[next].name)"))
            }
        } catch {
            fail(error)
        }
    }

    private func fail(_ error: any Error) {
        failure = error
        loop.stop()
    }
}

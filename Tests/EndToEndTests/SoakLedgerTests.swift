// The account of scripts/soak: its verdict is only worth something if it notices each thing that can be
// wrong.
import Foundation
import Testing

@Suite struct SoakLedgerTests {
    /// A run of unittest that finds no tests succeeds as well, so their number is looked at.
    @Test func theAccountNoticesWhateverIsMissingTwiceLateOrElsewhere() async throws {
        let driver = try Driver()
        do {
            let scripts = Installation.root.appending(path: "scripts/lib").path
            let completed = try await driver.run(
                [try Installation.python(), "\(scripts)/soak/ledger_test.py"],
                environment: ["PYTHONPATH": scripts])
            await driver.stop()
            let count = completed.errors.firstMatch(of: /Ran (\d+) tests/).flatMap { Int($0.output.1) }
            #expect(completed.code == 0, "\(completed.errors)")
            #expect((count ?? 0) >= 46, "\(completed.errors)")
        } catch {
            await driver.stop()
            throw error
        }
    }
}

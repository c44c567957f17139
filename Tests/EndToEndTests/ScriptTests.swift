// What scripts compute themselves, by tests in Python: the account of scripts/soak, whose verdict is only worth
// something if it notices each thing that can be wrong, and the model of scripts/capacity with its tables in the
// guide.
import Foundation
import Testing

@Suite struct ScriptTests {
    /// A run of unittest that finds no tests succeeds as well, so their number is looked at.
    @Test(arguments: [
        ("soak/ledger_test.py", 27), ("soak/account_test.py", 23), ("soak/cluster_test.py", 9),
        ("capacity/capacity_test.py", 40),
    ])
    func scriptsComputeWhatTheySay(file: String, leastCount: Int) async throws {
        let driver = try Driver()
        do {
            let scripts = Installation.root.appending(path: "scripts/lib").path
            let completed = try await driver.run(
                [try Installation.python(), "-B", "\(scripts)/\(file)"],
                environment: ["PYTHONPATH": scripts])
            await driver.stop()
            let count = completed.errors.firstMatch(of: /Ran (\d+) tests/).flatMap { Int($0.output.1) }
            #expect(completed.code == 0, "\(completed.errors)")
            #expect((count ?? 0) >= leastCount, "\(completed.errors)")
        } catch {
            await driver.stop()
            throw error
        }
    }
}

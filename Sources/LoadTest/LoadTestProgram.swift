// From the command line to the exit code. Main thread.

import EventLoop
import FoundationEssentials
import Glibc
import Options
import RedisOptions
import System

/// The load test, start to end.
enum LoadTestProgram {
    /// No client could connect, or Redis is away.
    static let unreachableStatus: Int32 = 3

    /// Runs one call.
    ///
    /// - Returns: the exit code.
    static func run() -> Int32 {
        EndSignals.ignoreStray()
        do throws(UsageError) {
            let arguments = try ProcessArguments.read()
            if arguments.first == HolderProgram.argument { return HolderProgram.run() }
            switch try LoadTestOptions.program.parse(arguments) {
            case .print(let text): return StandardStreams.printResult(text, of: "loadtest")
            case .run(let values):
                for unknown in LoadTestOptions.program.unknownVariables() {
                    Console.complain(unknown.warning, of: "loadtest")
                }
                // A long run would show them in `ps`.
                ProcessArguments.hidePasswords()
                ProcessArguments.hideValue(of: "issue-key")
                let plan = try LoadPlan(values, descriptorLimit: DescriptorLimit.raise())
                if plan.trustsAnyone { Console.complain(RedisTLSOptions.warning, of: "loadtest") }
                try checkProcesses(plan)
                return measure(plan)
            }
        } catch {
            Console.complain("\(error)", of: "loadtest")
            return error.exitStatus
        }
    }

    private static func checkProcesses(_ plan: LoadPlan) throws(UsageError) {
        for pid in plan.pids where ProcessUsage.read(pid: pid) == nil {
            throw UsageError("--pids: there is no process \(pid) here, expected processes of this machine")
        }
    }

    private static func measure(_ plan: LoadPlan) -> Int32 {
        do throws(SystemError) {
            let report = try Coordinator(plan).run()
            let written = StandardStreams.printResult(
                plan.isJson ? json(report) : ReportTable.text(report), of: "loadtest")
            return report.exitCode == 0 ? written : report.exitCode
        } catch {
            Console.complain("\(error)", of: "loadtest")
            return 1
        }
    }

    private static func json(_ report: RunReport) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            return String(decoding: try encoder.encode(report), as: UTF8.self) + "\n"
        } catch {
            preconditionFailure("a report has no JSON form: \(error)")
        }
    }
}

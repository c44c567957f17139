// From the command line to the exit code. Main thread.

import EventLoop
import FoundationEssentials
import Glibc
import Options

/// The load test, start to end.
enum LoadTestProgram {
    static let usageStatus: Int32 = 2
    /// No client could connect, or Redis is away.
    static let unreachableStatus: Int32 = 3

    /// Runs one call.
    ///
    /// - Parameter arguments: without the program's own name.
    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        if arguments.first == HolderProgram.argument { return HolderProgram.run() }
        signal(SIGPIPE, SIG_IGN)
        do throws(UsageError) {
            switch try LoadTestOptions.program.parse(arguments) {
            case .print(let text):
                Console.write(text, to: STDOUT_FILENO)
                return 0
            case .run(let values):
                // A long run would show them in `ps`.
                ProcessArguments.hidePasswords()
                ProcessArguments.hideValue(of: "issue-key")
                let plan = try LoadPlan(values, descriptorLimit: DescriptorLimit.raise())
                try checkProcesses(plan)
                return measure(plan)
            }
        } catch {
            Console.write("loadtest: \(error)\n", to: STDERR_FILENO)
            return usageStatus
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
            Console.write(plan.isJson ? json(report) : ReportTable.text(report), to: STDOUT_FILENO)
            return report.exitCode
        } catch {
            Console.write("loadtest: \(error)\n", to: STDERR_FILENO)
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

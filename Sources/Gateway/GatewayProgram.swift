// From the command line to a running node. Runs on the main thread.

import EventLoop
import Glibc
import Options
import System

/// The process: reads its configuration, prepares the process for it, and runs a node until it has drained.
enum GatewayProgram {
    /// Exit status when the node cannot start: an address in use, no threads.
    private static let startStatus: Int32 = 1

    static func run() {
        EndSignals.ignoreStray()
        // Until the node watches it: a terminal that goes away is no wish for an end (docs/OPERATIONS.md).
        signal(SIGHUP, SIG_IGN)
        do throws(UsageError) {
            switch try Configuration.read(ProcessArguments.read()) {
            case .print(let text): exit(StandardStreams.printResult(text, of: "gateway"))
            case .run(let configuration): try run(configuration)
            }
        } catch {
            fail("\(error)", error.exitStatus)
        }
    }

    private static func run(_ configuration: Configuration) throws(UsageError) {
        if configuration.isRedisPasswordInArguments { ProcessArguments.hidePasswords() }
        if configuration.isIssueKeyInArguments { ProcessArguments.hideValue(of: "issue-key") }
        if configuration.isAdminKeyInArguments { ProcessArguments.hideValue(of: "admin-key") }
        let limits = try ConnectionLimits(configuration, descriptors: DescriptorLimit.raise())
        let log = Log(
            level: configuration.logLevel, format: configuration.logFormat, nodeID: configuration.nodeId)
        warnOfUnknownVariables(log)
        if configuration.redis.trustsAnyone {
            log.warning("the certificate of redis is not checked", ["option": "redis-tls-verify"])
        }
        do throws(SystemError) {
            try Node(configuration, limits: limits, log: log).run()
        } catch {
            fail("cannot start: \(error)", startStatus)
        }
    }

    private static func warnOfUnknownVariables(_ log: Log) {
        for unknown in Configuration.program.unknownVariables().prefix(Limits.unknownVariableCount) {
            var fields: Log.Fields = ["variable": unknown.name]
            if let suggestion = unknown.suggestion { fields.append("did_you_mean", suggestion) }
            log.warning("unknown environment variable", fields)
        }
    }

    private static func fail(_ message: String, _ status: Int32) {
        LogWriter.standardError.flush(within: Limits.logFlushTime)
        _ = StandardStreams.write("gateway: \(DisplayText.text(message))\n", to: STDERR_FILENO)
        exit(status)
    }
}

// From the command line to a running node. Runs on the main thread.

import EventLoop
import Glibc
import Options

/// The process: reads its configuration, prepares the process for it, and runs a node until it has drained.
enum GatewayProgram {
    /// Exit status for a wrong option, value or environment variable.
    private static let usageStatus: Int32 = 2
    /// Exit status when the node cannot start: an address in use, no threads.
    private static let startStatus: Int32 = 1

    static func run() {
        // hiredis writes without MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        do throws(UsageError) {
            switch try Configuration.read(Array(CommandLine.arguments.dropFirst())) {
            case .print(let text): print(text, terminator: "")
            case .run(let configuration): try run(configuration)
            }
        } catch {
            fail("\(error)", usageStatus)
        }
    }

    private static func run(_ configuration: Configuration) throws(UsageError) {
        if configuration.isRedisPasswordInArguments { ProcessArguments.hidePasswords() }
        if configuration.isIssueKeyInArguments { ProcessArguments.hideValue(of: "issue-key") }
        if configuration.isAdminKeyInArguments { ProcessArguments.hideValue(of: "admin-key") }
        let limits = try ConnectionLimits(configuration, descriptors: DescriptorLimit.raise())
        let log = Log(level: configuration.logLevel, format: configuration.logFormat, nodeID: configuration.nodeId)
        do throws(SystemError) {
            try Node(configuration, limits: limits, log: log).run()
        } catch {
            fail("cannot start: \(error)", startStatus)
        }
    }

    private static func fail(_ message: String, _ status: Int32) {
        LogWriter.standardError.flush(within: .seconds(1))
        BlockingDescriptor.write(Array("gateway: \(message)\n".utf8), to: STDERR_FILENO)
        exit(status)
    }
}

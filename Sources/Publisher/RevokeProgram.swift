// `publisher revoke`: from its options to its exit code, and what it tells. Main thread; everything here
// blocks.

import Glibc
import JSON
import Options
import Redis

/// Revokes the tokens of one call.
struct RevokeProgram {
    /// Twice what a gateway takes for its name.
    private static let maximumNodeColumnCount = 128

    private let job: RevokeJob
    private let start = ContinuousClock.now
    private var revoker: TokenRevoker
    private var console: Console
    private var progress: Progress

    /// - Returns: the exit code: 0, 1, or 128 and the signal's number.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        let job = try RevokeJob(values)
        // Until it is revoked a token is a credential, too.
        ProcessArguments.hideValue(of: "token")
        return PublisherProgram.withRedis(job.redis, undone: "nothing was revoked") { redis, _ in
            var program = RevokeProgram(job, redis)
            return program.run()
        }
    }

    private init(_ job: RevokeJob, _ redis: RedisSession) {
        self.job = job
        let style = ProgressStyle(isQuiet: job.isQuiet)
        console = Console(of: PublisherProgram.name, progressStyle: style)
        progress = Progress(style: style, totalBytes: nil)
        revoker = TokenRevoker(redis: redis, prefix: job.redis.prefix)
    }

    private mutating func run() -> Int32 {
        var ending = Tally.Ending.complete
        do throws(RedisSessionError) {
            switch try revoke() {
            case .complete: break
            case .interrupted: ending = .interrupted
            case .restless:
                ending = .failed
                console.complain(
                    "slots of the cluster kept moving between its masters, and records with them: run it again"
                )
            }
        } catch {
            ending = .failed
            console.complain("\(error)")
        }
        console.wipeBar()
        report(ending)
        if ending == .interrupted, let code = Interruption.exitCode { return console.exitCode(code) }
        return console.exitCode(ending == .failed ? 1 : 0)
    }

    private mutating func revoke() throws(RedisSessionError) -> TokenRevoker.Ending {
        switch job.target {
        case .token(let token):
            try revoker.revoke(token)
            return .complete
        case .tokens(let field, let identity):
            // Both change while the revoker is at work.
            var (console, progress) = (self.console, self.progress)
            let start = start
            defer { self.console = console }
            return try revoker.revokeAll(field, identity) { revoker in
                if progress.isDue(elapsed: .now - start) {
                    console.progress(
                        "\(revoker.recordCount) records looked through, \(revoker.revoked.count) revoked")
                }
                return Interruption.requested == nil
            }
        }
    }

    private mutating func report(_ ending: Tally.Ending) {
        let revoked = revoker.revoked
        let connectedCount = revoked.count { $0.connection != .none }
        let elapsed = ContinuousClock.now - start
        if job.isJson {
            console.result(
                JsonLine.object {
                    $0.member("ending", ending.rawValue)
                    $0.member("tokens", revoked.count)
                    $0.member("connections", connectedCount)
                    $0.member("records", revoker.recordCount)
                    $0.member("seconds", json: Tally.secondsText(elapsed).utf8)
                })
        } else if !job.isQuiet {
            for one in revoked { console.result("\(one.token): \(RevokeProgram.text(one.connection))") }
            if ending == .complete || !revoked.isEmpty {
                console.result(summary(revoked.count, connectedCount))
            }
        }
        switch ending {
        case .complete, .stopped: break
        case .interrupted: console.complain("interrupted: records that were not looked at are not revoked")
        case .failed:
            console.complain("failed: tokens that are not named above may have been revoked or not")
        }
    }

    private static func text(_ connection: TokenRevoker.ConnectionEnd) -> String {
        switch connection {
        case .none: "not connected"
        // The node is what a record says.
        case .closed(let node): "connected to \(shown(node))"
        case .left(let node): "connected to \(shown(node)), which may not have been told"
        }
    }

    private static func shown(_ node: String) -> String {
        DisplayText.text(node, columnCount: maximumNodeColumnCount)
    }

    private func summary(_ count: Int, _ connectedCount: Int) -> String {
        let lookedThrough = "\(revoker.recordCount) \(revoker.recordCount == 1 ? "record" : "records")"
        switch (job.target, count) {
        case (.token, 0): return "no such token: it is unknown, has expired, or was revoked before"
        case (.tokens, 0): return "no token found in \(lookedThrough)"
        default:
            return "revoked \(count) \(count == 1 ? "token" : "tokens"), \(connectedCount) connected"
        }
    }
}

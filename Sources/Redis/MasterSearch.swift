// Sentinels for programs that may block: who the master is, and a pipeline to it that waits for a failover.

import Glibc

/// The sentinels, asked one after another.
enum MasterSearch {
    /// For each sentinel, unless the whole has less: there are others to ask.
    private static let patience = Duration.milliseconds(500)

    /// The master's address by the first sentinel that names one.
    ///
    /// - Throws: `noMaster` with what each sentinel said.
    static func master(
        of sentinels: RedisURL.Sentinels, timeout: Duration
    ) throws(RedisPipelineError) -> RedisURL.Address {
        var complaints: [String] = []
        for sentinel in sentinels.addresses {
            do {
                return try master(of: sentinels, by: sentinel, timeout: min(timeout, patience))
            } catch {
                complaints.append("\(sentinel): \(error.cause)")
            }
        }
        throw .noMaster("no sentinel names \(sentinels.masterName): " + complaints.joined(separator: "; "))
    }

    private static func master(
        of sentinels: RedisURL.Sentinels, by sentinel: RedisURL.Address, timeout: Duration
    ) throws(RedisPipelineError) -> RedisURL.Address {
        let pipeline = try RedisPipeline(connectingTo: sentinel, shown: "", timeout: timeout)
        if let arguments = sentinels.authArguments { try pipeline.call(["AUTH"] + arguments) }
        try pipeline.append(MasterQuestion.arguments(sentinels.masterName))
        switch try pipeline.nextReply() {
        case .array(let parts):
            guard parts.count == 2, case .bytes(let host) = parts[0], case .bytes(let port) = parts[1],
                let address = MasterQuestion.address(
                    host: String(decoding: host, as: UTF8.self), port: String(decoding: port, as: UTF8.self))
            else { break }
            return address
        case .refused(let text): throw .noMaster(text)
        case .integer, .bytes, .null: break
        }
        throw .noMaster("knows no such master")
    }
}

extension RedisPipeline {
    /// Between two attempts: a failover takes a second or more.
    private static let retryPause = Duration.milliseconds(100)

    /// A pipeline to the server of a URL. Behind sentinels it is tried again until the timeout, as a failover may be
    /// under way.
    ///
    /// - Parameter timeout: the longest wait for the connection, and later for each reply; above zero.
    /// - Throws: `RedisPipelineError`, of the last attempt.
    package static func open(_ url: RedisURL, timeout: Duration) throws(RedisPipelineError) -> RedisPipeline {
        guard case .master = url.route else { return try RedisPipeline(to: url, timeout: timeout) }
        let deadline = ContinuousClock.now + timeout
        while true {
            do {
                return try RedisPipeline(to: url, timeout: timeout)
            } catch {
                guard error.mayPass, ContinuousClock.now + retryPause < deadline else { throw error }
            }
            usleep(useconds_t(retryPause.components.attoseconds / 1_000_000_000_000))
        }
    }
}

extension RedisPipelineError {
    /// The reason alone, for a list of them.
    fileprivate var cause: String {
        switch self {
        case .unreachable(let reason): String(reason.drop { $0 == ":" || $0 == " " })
        case .noMaster(let reason), .lost(let reason): reason
        case .loginRefused(let command, let answer): "\(command): \(answer)"
        }
    }

    /// Whether a failover that goes on may be the reason, rather than a wrong password.
    fileprivate var mayPass: Bool {
        if case .loginRefused = self { false } else { true }
    }
}

// One of the servers that a call publishes to. Main thread.

import EventLoop
import Options
import Redis
import RedisSchema

/// A server, the notices on their way to it, and what has become of them.
final class Target {
    /// `host:port`, for messages; nil if it is the only one.
    let name: String?
    /// The notices on their way; nil where there is no connection.
    private(set) var window: (any NoticeWindow)?
    /// Whether it takes notices.
    private(set) var isLive = false
    var tally = Tally()
    /// The last line of a file that was sent or found bad, or that was passed over.
    var lastLine: Int
    /// Lines that were refused or bad and are not named one by one, since there were too many.
    var unnamedLines: [Int] = []
    private let settings: RedisSettings
    private let durability: Durability?
    private let loop: EventLoop
    private let session: RedisSession

    /// Starts to connect.
    init(_ settings: RedisSettings, _ job: Job, loop: EventLoop) {
        self.settings = settings
        self.loop = loop
        name = job.targets.count > 1 ? settings.url.destination : nil
        durability = job.durability
        lastLine = job.firstLine - 1
        tally.isDurable = durability != nil
        tally.isCounted = !settings.url.isCluster
        // A durable notice is a write, which a replica refuses by itself.
        session = RedisSession(
            starting: settings.url, timeout: settings.timeout,
            answerTimeout: settings.answerTimeout(durability), mustBeMaster: durability == nil, loop: loop)
    }

    /// Waits for the connection; those of other targets are made meanwhile.
    fileprivate func connect(_ channels: Channels) throws(RedisSessionError) {
        try session.awaitConnection()
        if let durability {
            window = DurableWindow(session, settings, durability, loop: loop)
        } else {
            window = PublishWindow(redis: session, channels: channels, address: settings.url.destination)
        }
        isLive = true
    }

    /// Does something with the notices on their way, unless it has failed. One that fails takes no more.
    ///
    /// - Returns: why it has failed, if it has by this.
    func attempt(_ body: (any NoticeWindow) throws(RedisSessionError) -> Void) -> RedisSessionError? {
        guard isLive, let window else { return nil }
        do throws(RedisSessionError) {
            try body(window)
            return nil
        } catch {
            isLive = false
            return error
        }
    }

    /// Waits for every answer of all targets, which answer at the same time.
    ///
    /// - Returns: those that have failed by this, with the reasons.
    static func drain(_ targets: [Target]) -> [(target: Target, error: RedisSessionError)] {
        for target in targets where target.isLive { target.window?.flush() }
        return targets.compactMap { target in
            let error = target.attempt { (window) throws(RedisSessionError) in try window.drain() }
            return error.map { (target, $0) }
        }
    }

    /// Connects to all targets of a job at the same time.
    ///
    /// - Returns: all of them, also those without a connection; nil if none has one.
    static func connect(_ job: Job) -> [Target]? {
        let undone = "nothing was sent"
        let targets: [Target]
        do {
            let loop = try EventLoop()
            targets = job.targets.map { Target($0, job, loop: loop) }
        } catch {
            Console.complain("\(error); \(undone)", of: PublisherProgram.name)
            return nil
        }
        for target in targets {
            do throws(RedisSessionError) {
                try target.connect(job.channels)
            } catch {
                Console.complain(target.line("\(error); \(undone)"), of: PublisherProgram.name)
            }
        }
        return targets.contains { $0.isLive } ? targets : nil
    }

    /// A line about this target.
    func line(_ text: String) -> String { name.map { "\($0): \(text)" } ?? text }
}

// The news that another server is the master now. Loop-confined.

import EventLoop

/// Holds a connection to one of the sentinels, asks it for the master, and listens to its channel
/// `+switch-master`:
///
///     <name> <old host> <old port> <new host> <new port>
///
/// Question and subscription leave in one write, so that no switch falls between them. When the sentinel
/// goes, the next one is asked, and its answer shows a switch that was missed.
final class MasterWatch {
    private static let channel = [UInt8]("+switch-master")
    /// Five words; anything longer is not a sentinel's.
    private static let maximumMessageBytes = 1024
    private static let subscribeVerb = [UInt8]("SUBSCRIBE")

    private let masterName: String
    private let link: RedisLink
    private var echo: LinkEcho?
    private var isUp = false

    /// The master, each time that a sentinel names it.
    var onMaster: ((RedisURL.Address) -> Void)?
    /// A sentinel reports switches from now on.
    var onUp: (() -> Void)?
    /// The sentinel, or an attempt to reach one, was lost: the reason.
    var onDown: ((String) -> Void)?

    init(_ sentinels: RedisURL.Sentinels, clientName: String?, silenceTimeout: Duration, loop: EventLoop) {
        masterName = sentinels.masterName
        link = RedisLink(toAnyOf: sentinels, clientName: clientName, loop: loop)
        echo = LinkEcho(
            silenceTimeout: silenceTimeout, loop: loop, ask: { [unowned self] in self.subscribe() },
            hasNews: { [unowned self] in self.link.hasNews },
            onSilence: { [unowned self] in self.link.drop(reason: $0) })
        link.onLogin = { [unowned self] in self.begin($0) }
        link.onLost = { [unowned self] in self.lost($0) }
    }

    func start() { link.start() }

    func stop() {
        echo?.stop()
        link.stop()
    }

    private func begin(_ context: RedisContext) {
        context.setPushHandler(
            { [unowned self] in self.receive($0) }, onError: { [unowned self] in self.link.drop(reason: $0) }
        )
        context.send(MasterQuestion.command(masterName)) { [weak self] result in
            if case .success(let reply) = result, let master = MasterQuestion.address(in: reply) {
                self?.onMaster?(master)
            }
        }
        subscribe()
        echo?.start()
    }

    private func subscribe() {
        link.context?.sendSubscription(MasterWatch.subscribeVerb, channel: MasterWatch.channel)
    }

    private func receive(_ reply: RedisReply) {
        echo?.heard()
        guard reply.count == 3, let kind = reply[0].bytes else { return }
        if kind.elementsEqual("subscribe".utf8) {
            // Later confirmations are echoes.
            guard !isUp else { return }
            isUp = true
            link.confirm()
            onUp?()
        } else if kind.elementsEqual("message".utf8), let channel = reply[1].bytes,
            channel.elementsEqual(MasterWatch.channel),
            (reply[2].bytes?.count ?? 0) <= MasterWatch.maximumMessageBytes, let text = reply[2].string,
            let master = MasterWatch.master(named: masterName, in: text)
        {
            onMaster?(master)
        }
    }

    /// The new address in a message of the channel; nil if it is about another master.
    static func master(named name: String, in text: String) -> RedisURL.Address? {
        let words = text.split(separator: " ").map(String.init)
        guard words.count == 5, words[0] == name else { return nil }
        return MasterQuestion.address(host: words[3], port: words[4])
    }

    private func lost(_ reason: String) {
        isUp = false
        echo?.stop()
        onDown?(reason)
    }
}

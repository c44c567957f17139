// The node's one pub/sub connection. Loop-confined: runs on the subscriber's thread.

import EventLoop

/// Receives the messages of the channels that are subscribed, and subscribes them again after every loss.
///
/// An *anchor* channel is subscribed first and for ever. With it hiredis 0.14's count of subscriptions never
/// comes to zero, which is where it aborts; and subscribing it again is the echo by which a dead link is
/// noticed, as a subscribed connection may not be asked anything else.
package final class RedisSubscriber {
    private static let subscribeVerb = [UInt8]("SUBSCRIBE")
    private static let unsubscribeVerb = [UInt8]("UNSUBSCRIBE")
    /// hiredis keeps some 150 bytes for each channel that it has asked for and that was refused, as long as
    /// the connection lives: beyond this many a new one is made.
    private static let maximumRefusalCount = 100_000

    private let link: RedisLink
    private let anchor: RedisArgument
    /// Only behind sentinels.
    private var watch: MasterWatch?
    private var echo: LinkEcho?
    /// Channels to hold: confirmed, waiting for their confirmation, or refused.
    private var channels: Set<RedisArgument> = []
    private var refused: RefusedChannels
    private var asked = SubscriptionQueue()
    /// Whether the present connection has been asked for the channels that were held when it stood: those
    /// that come later are asked for at once, also while the anchor's confirmation is on its way.
    private var hasAskedForAll = false
    /// On the present connection.
    private var refusalCount = 0
    /// Whether the anchor of the present connection is confirmed.
    package private(set) var isUp = false
    /// All that was published before this instant to channels that were confirmed by then has come, if it
    /// was to come at all: Redis has answered what was sent to it then. Holds its value when the link is
    /// lost.
    package var completeUntil: MonotonicInstant { min(answeredUntil, limit?() ?? answeredUntil) }
    private var answeredUntil = MonotonicInstant.now
    /// In a cluster the server answers for itself only: until when everything has come that was published at the
    /// others.
    package var limit: (() -> MonotonicInstant?)?

    /// What the server of the new connection says of itself, before anything is subscribed. Only asked for
    /// if this is set.
    package var onServer: ((RedisConnection.Server) -> Void)?
    /// An echo that `ask` has sent is back: everything published before it was sent has come.
    package var onEcho: (() -> Void)?
    /// The anchor is confirmed and every held channel has been asked for again.
    package var onUp: (() -> Void)?
    /// Every channel that was held when the connection stood is confirmed.
    package var onAllSubscribed: (() -> Void)?
    /// The connection, or an attempt at one, was lost: the reason. Every channel is unsubscribed with it.
    package var onDown: ((String) -> Void)?
    /// Redis has confirmed a channel: what is published from now on comes.
    package var onSubscribed: ((RedisArgument) -> Void)?
    /// Redis has confirmed that a channel is left.
    package var onUnsubscribed: ((RedisArgument) -> Void)?
    /// Redis' access rules refuse a channel. It is still held, and tried again from time to time; called each
    /// time.
    package var onRefused: ((RedisArgument) -> Void)?
    /// A message: channel and payload, valid only during the call.
    package var onMessage: ((UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void)?
    /// A sentinel has named the master, which this link follows already.
    package var onMaster: ((RedisURL.Address) -> Void)?
    /// The connection to a sentinel came (nil) or went, or an attempt at one failed: the reason.
    package var onSentinel: ((String?) -> Void)?

    /// - Parameters:
    ///   - clientName: shown by CLIENT LIST; nil for a program whose user may have no right to be named.
    ///   - anchor: a channel that is never left.
    ///   - silenceTimeout: a link that has brought nothing for so long is dead, though an echo was asked for.
    ///   - refusalPause: how long a refused channel is left alone at first. Long enough that a wrong rule
    ///     costs little, short enough that an operator who has just corrected it sees it work.
    ///   - connectTimeout: for each attempt to connect, with its login; nil is the link's own.
    ///   - candidates: the nodes of a cluster in the order in which they are tried, for each attempt anew: behind a
    ///     loss the next one. Nothing means those of the URL.
    package init(
        url: RedisURL, clientName: String?, anchor: RedisArgument, silenceTimeout: Duration,
        refusalPause: Duration = .seconds(10), connectTimeout: Duration? = nil,
        candidates: (() -> [RedisURL.Address])? = nil, loop: EventLoop
    ) {
        self.anchor = anchor
        refused = RefusedChannels(firstPause: refusalPause)
        link = RedisLink(
            url: url, clientName: clientName, attemptTime: connectTimeout, loop: loop)
        link.candidates = candidates
        echo = LinkEcho(
            silenceTimeout: silenceTimeout, loop: loop, ask: { [unowned self] in self.askForEcho() },
            hasNews: { [unowned self] in self.link.hasNews },
            onSilence: { [unowned self] in self.link.drop(reason: $0) })
        link.onLogin = { [unowned self] in self.identify($0) }
        link.onLost = { [unowned self] in self.lost($0) }
        if case .master(let sentinels) = url.route {
            watchMaster(
                MasterWatch(sentinels, clientName: clientName, silenceTimeout: silenceTimeout, loop: loop))
        }
    }

    /// Whether the latest loss was the server's word, such as a wrong password, rather than trouble on the
    /// way.
    package var isRefused: Bool { link.isRefused }

    /// The server of the present connection or of the latest attempt at one.
    package var server: RedisURL.Address? { link.triedServer }

    package func start() {
        watch?.start()
        link.start()
    }

    package func stop() {
        echo?.stop()
        watch?.stop()
        link.stop()
    }

    /// The connection is made again at once: it leads to another server than it should, or has an old password.
    ///
    /// - Parameter mustBeMaster: whether only a master is taken from now on.
    package func renew(reason: String, mustBeMaster: Bool) {
        link.renew(reason: reason, mustBeMaster: mustBeMaster)
    }

    /// Whether the connection has logged in with a password that is in the file no more. A subscribed connection
    /// may not send AUTH.
    package var hasOldPassword: Bool { link.hasOldPassword }

    /// Whether something has come that the loop has not read yet.
    package var hasNews: Bool { link.hasNews }

    /// Holds a channel; `onSubscribed` reports each confirmation. Once for each channel.
    package func subscribe(_ channel: RedisArgument) {
        link.loop.assertOnThread()
        precondition(channels.insert(channel).inserted, "a channel is subscribed once")
        if hasAskedForAll { send(.subscribe, channel) }
    }

    /// Lets go of a channel that has been confirmed, or refused.
    package func unsubscribe(_ channel: RedisArgument) {
        link.loop.assertOnThread()
        precondition(channels.remove(channel) != nil, "only a held channel is unsubscribed")
        if refused.contains(channel) {
            refused.remove(channel)
        } else if isUp {
            send(.unsubscribe, channel)
        }
    }

    /// Sends an echo, if the connection stands; `onEcho` is called once for each, in their order, unless the
    /// connection is lost.
    package func ask() {
        link.loop.assertOnThread()
        if isUp { send(.question, anchor) }
    }

    private func watchMaster(_ watch: MasterWatch) {
        self.watch = watch
        watch.onMaster = { [unowned self] master in
            self.link.follow(master)
            self.onMaster?(master)
        }
        watch.onUp = { [unowned self] in self.onSentinel?(nil) }
        watch.onDown = { [unowned self] in self.onSentinel?($0) }
    }

    private func send(_ purpose: SubscriptionQueue.Purpose, _ channel: RedisArgument) {
        guard let context = link.context else { return }
        let verb = purpose == .unsubscribe ? RedisSubscriber.unsubscribeVerb : RedisSubscriber.subscribeVerb
        asked.append(channel, purpose)
        context.sendSubscription(verb, channel: channel)
    }

    /// Before it is subscribed, a connection may be asked what it leads to.
    private func identify(_ context: RedisContext) {
        guard let onServer else { return subscribeAll(context) }
        context.send(RedisConnection.Server.command) { [weak self] result in
            switch result {
            case .success(let reply): onServer(RedisConnection.Server(information: reply.string ?? ""))
            case .failure(.refused): onServer(RedisConnection.Server(information: ""))
            case .failure(.unavailable): return
            }
            self?.subscribeAll(context)
        }
    }

    private func subscribeAll(_ context: RedisContext) {
        context.setPushHandler(
            { [unowned self] in self.receive($0) }, onError: { [unowned self] in self.answered(error: $0) })
        refusalCount = 0
        send(.echo, anchor)
        // One channel a command (hiredis 0.14 miscounts several), all of them in as few writes as the kernel
        // takes.
        for channel in channels where !refused.contains(channel) { send(.subscribe, channel) }
        send(.end, anchor)
        hasAskedForAll = true
        echo?.start()
    }

    private func receive(_ reply: RedisReply) {
        echo?.heard()
        guard reply.count == 3, let kind = reply[0].bytes, let channel = reply[1].bytes else { return }
        if kind.elementsEqual("message".utf8) {
            if let payload = reply[2].bytes { onMessage?(channel, payload) }
        } else if kind.elementsEqual("subscribe".utf8) {
            answered(Array(channel), isSubscribed: true)
        } else if kind.elementsEqual("unsubscribe".utf8) {
            answered(Array(channel), isSubscribed: false)
        }
    }

    private func answered(_ channel: RedisArgument, isSubscribed: Bool) {
        guard let entry = asked.answered(channel, isSubscribed: isSubscribed) else {
            return link.drop(reason: RespViolation.unasked.reason)
        }
        answeredUntil = entry.sentAt
        switch entry.purpose {
        case .subscribe: confirmed(channel)
        case .unsubscribe: onUnsubscribed?(channel)
        case .end: onAllSubscribed?()
        case .question: onEcho?()
        case .echo:
            guard !isUp else { return }
            isUp = true
            link.confirm()
            onUp?()
        }
    }

    /// A refusal concerns one channel, which is set aside; any other error the connection.
    private func answered(error message: String) {
        echo?.heard()
        guard RefusedChannels.isRefusal(message), asked.first?.purpose == .subscribe,
            let entry = asked.refused()
        else {
            return link.drop(reason: message, isRefusal: true)
        }
        answeredUntil = entry.sentAt
        refusalCount += 1
        guard refusalCount < RedisSubscriber.maximumRefusalCount else {
            return link.drop(reason: "too many refused channels")
        }
        guard channels.contains(entry.channel) else { return }
        refused.insert(entry.channel, now: .now)
        onRefused?(entry.channel)
    }

    private func confirmed(_ channel: RedisArgument) {
        refused.confirmed(channel)
        guard channels.contains(channel) else {
            // Given up while it was tried again.
            send(.unsubscribe, channel)
            return
        }
        onSubscribed?(channel)
        tryRefused()
    }

    private func askForEcho() {
        guard isUp else { return }
        send(.echo, anchor)
        tryRefused()
    }

    /// Asks for a refused channel again if one is due.
    private func tryRefused() {
        if let channel = refused.takeCandidate(now: .now) { send(.subscribe, channel) }
    }

    private func lost(_ reason: String) {
        isUp = false
        hasAskedForAll = false
        echo?.stop()
        asked.removeAll()
        refused.linkLost()
        onDown?(reason)
    }
}

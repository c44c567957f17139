// Channels that a command listens to. Main thread.

import EventLoop
import Redis

/// A subscription that asks for nothing but its channels, so that its user needs no other right. It is made
/// again when it is lost.
final class ChannelFeed {
    private let subscriber: RedisSubscriber
    /// Of a cluster: its nodes, each of which hears what is published at any of them.
    private let nodes: ClusterNodes?
    private var hasBegun = false
    /// Whether Redis has confirmed every channel: what is published from then on comes.
    private(set) var isUp = false
    /// What is wrong at present. What is wrong at the start stays wrong.
    private(set) var failure: RedisSessionError?

    /// Every channel is confirmed.
    var onUp: (() -> Void)?
    /// The connection, or an attempt at one, was lost, or Redis refuses a channel.
    var onDown: ((RedisSessionError) -> Void)?

    /// - Parameters:
    ///   - channels: one or more. The first one is asked for again and again, as a sign of life.
    ///   - onMessage: channel and payload, valid only during the call.
    init(
        _ settings: RedisSettings, channels: [RedisArgument], loop: EventLoop,
        onMessage: @escaping (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) {
        let url = settings.url
        let nodes = ClusterNodes(of: url, attemptTime: settings.timeout, loop: loop)
        self.nodes = nodes
        // Twice: a link that brought nothing for the timeout is asked, and then has the timeout once more.
        subscriber = RedisSubscriber(
            url: url, clientName: nil, anchor: channels[0], silenceTimeout: settings.timeout * 2,
            connectTimeout: settings.timeout, candidates: nodes.map { nodes in { nodes.all } }, loop: loop)
        for channel in channels.dropFirst() { subscriber.subscribe(channel) }
        subscriber.onMessage = onMessage
        subscriber.onAllSubscribed = { [unowned self] in
            guard self.hasBegun || self.failure == nil else { return }
            (self.hasBegun, self.isUp, self.failure) = (true, true, nil)
            self.onUp?()
        }
        subscriber.onDown = { [unowned self] reason in
            let failure = RedisSessionError(
                reason, isRefused: self.subscriber.isRefused, wasUp: self.isUp, url: url)
            self.isUp = false
            self.ended(failure)
        }
        subscriber.onRefused = { [unowned self] channel in
            let name = String(decoding: channel, as: UTF8.self)
            self.ended(.refused("SUBSCRIBE: no right to the channel \(name)"))
        }
        subscriber.start()
    }

    deinit {
        subscriber.stop()
        nodes?.stop()
    }

    private func ended(_ failure: RedisSessionError) {
        self.failure = failure
        onDown?(failure)
    }
}

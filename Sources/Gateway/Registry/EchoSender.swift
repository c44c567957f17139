// The node's word to itself by way of Redis. Loop-confined: the first worker's.

import EventLoop
import Redis
import RedisSchema

/// Publishes echoes to the node's own channel, two in each silence timeout and one whenever a connection has come,
/// and says to the feed which Redis has taken: `ServerAgreement` has the rest. What Redis says to them also
/// shows whether the node may publish at all.
final class EchoSender {
    private let node: NodeContext
    private let registry: ClientRegistry
    private let channel: [UInt8]
    private let interval: Duration
    private var number: UInt64 = 0
    private var timer: Timer?

    init(node: NodeContext, registry: ClientRegistry, loop: EventLoop) {
        self.node = node
        self.registry = registry
        channel = Channels(prefix: node.configuration.prefix).gateway(node.configuration.nodeId)
        interval = node.configuration.redisSilenceTimeout / 2
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.send() }
    }

    func start() { timer?.start(after: interval) }

    /// Sends one now: a connection has come.
    func send() {
        number += 1
        let (number, sentAt, run) = (number, MonotonicInstant.now, registry.serverRun)
        let message = ControlMessage.echoBytes(run: node.run, number: number)
        registry.publish(RedisCommand([[UInt8]("PUBLISH"), channel, message])) { [node] in
            let echo = ServerAgreement.Echo(number: number, run: run, sentAt: sentAt, takenAt: .now)
            node.feedMailboxes[0].post(.echoTaken(echo))
        }
    }
}

// The node's word to itself by way of Redis. Loop-confined: the first worker's.

import EventLoop
import Redis
import RedisSchema

/// Publishes echoes to the node's own channel, two in each silence timeout and one whenever a connection has come,
/// and says to the feed which Redis has taken: `ServerAgreement` has the rest, and in a cluster, where four go out by
/// way of one master after another, `ClusterEchoes`. What Redis says to them also shows whether the node may publish
/// at all.
final class EchoSender {
    private let node: NodeContext
    private let nextRegistry: () -> ClientRegistry
    private let channel: [UInt8]
    private let interval: Duration
    private var number: UInt64 = 0
    private var timer: Timer?

    /// - Parameter registry: of the server by which the next echo goes.
    init(node: NodeContext, registry: @autoclosure @escaping () -> ClientRegistry, loop: EventLoop) {
        self.node = node
        nextRegistry = registry
        channel = Channels(prefix: node.configuration.prefix).gateway(node.configuration.nodeId)
        interval = node.configuration.redisSilenceTimeout / (node.configuration.redis.isCluster ? 4 : 2)
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.send() }
    }

    func start() { timer?.start(after: interval) }

    /// Sends one now: a connection has come.
    func send() {
        number += 1
        let registry = nextRegistry()
        let (number, sentAt, run) = (number, MonotonicInstant.now, registry.serverRun)
        let address = registry.address
        let message = ControlMessage.echoBytes(run: node.run, number: number)
        registry.publish(RedisCommand([[UInt8]("PUBLISH"), channel, message])) { [node] in
            let echo = ServerAgreement.Echo(
                number: number, run: run, address: address, sentAt: sentAt, takenAt: .now)
            node.feedMailboxes[0].post(.echoTaken(echo))
        }
    }
}

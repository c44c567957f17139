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
    private let shards: () -> [Shard]
    private var turns = Turns<ObjectIdentifier>()
    private let channel: [UInt8]
    private let interval: Duration
    private var number: UInt64 = 0
    private var timer: Timer?

    /// - Parameter shards: those that can be reached.
    init(node: NodeContext, shards: @autoclosure @escaping () -> [Shard], loop: EventLoop) {
        self.node = node
        self.shards = shards
        channel = Channels(prefix: node.configuration.prefix).gateway(node.configuration.nodeId)
        interval = node.configuration.redisSilenceTimeout / (node.configuration.redis.isCluster ? 4 : 2)
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.send() }
    }

    func start() { timer?.start(after: interval) }

    /// Sends one now: a connection has come.
    func send() {
        let shards = shards()
        guard let place = turns.next(of: shards.map(ObjectIdentifier.init)) else { return }
        let registry = shards[place].registry
        number += 1
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

/// Takes one after the other of what comes and goes: always the one whose turn is longest ago.
struct Turns<Element: Hashable> {
    private var turns: [Element: UInt64] = [:]
    private var count: UInt64 = 0

    /// Where the next one is in the list; nil if that is empty.
    mutating func next(of elements: [Element]) -> Int? {
        let next = elements.indices.min { turns[elements[$0], default: 0] < turns[elements[$1], default: 0] }
        guard let next else { return nil }
        turns = turns.filter { elements.contains($0.key) }
        count += 1
        turns[elements[next]] = count
        return next
    }
}

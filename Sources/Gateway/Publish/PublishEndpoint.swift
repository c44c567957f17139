// POST /api/publish of the admin listener: for backends without Redis, and for the console's page. Confined to
// the control loop.

import EventLoop
import HTTP
import JSON
import Redis
import RedisSchema

/// Publishes a notice to one or many rooms, durably if asked to.
///
///     200 {"rooms":[{"room":"lobby","nodes":2,"id":"1795969278590-57"}, …]}        every room has it
///     503 {"data":"service unavailable","rooms":[{"room":"lobby","error":"OOM …"}, …]}        a room has not
final class PublishEndpoint {
    static let path = "/api/publish"
    private static let fields = [Answer.json, Answer.noStore]

    /// What became of the notice in one room.
    enum Outcome {
        /// nil of a cluster, where nobody counts the nodes.
        case published(nodeCount: Int64?)
        case stored(DurableNotice.Outcome, isCounted: Bool)
        /// Neither stored nor published, by Redis' words, or nobody knows.
        case failed(RedisFailure)
    }

    private let node: NodeContext
    private let gate: AdminKeyGate
    private let link: ConsoleLink
    private let sender: DurableSender
    private let channels: Channels

    init(node: NodeContext, gate: AdminKeyGate, link: ConsoleLink) {
        self.node = node
        self.gate = gate
        self.link = link
        channels = Channels(prefix: node.configuration.prefix)
        sender = DurableSender(prefix: node.configuration.prefix) { link.send($0, near: $1, onReply: $2) }
    }

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        if let refusal = gate.refusal(of: request, on: connection) {
            return connection.respond(
                refusal.status, fields: PublishEndpoint.fields + refusal.fields,
                body: Answer.body(refusal.message))
        }
        let publish: PublishRequest
        do throws(ParameterFault) {
            publish = try PublishRequest(
                connection.requestBody, isCluster: node.configuration.redis.isCluster)
        } catch {
            return connection.respond(
                .badRequest, fields: PublishEndpoint.fields + [Answer.detail(error.detail)],
                body: Answer.invalidParameters)
        }
        node.log.info(
            "notice published over HTTP",
            [
                "rooms": "\(publish.rooms.count)", "room": "\(publish.rooms[0])",
                "bytes": "\(publish.payload.count)", "durable": "\(publish.durability != nil)",
            ])
        connection.wait(atMost: node.configuration.consolePatience) { _ in }
        send(publish) { [log = node.log] outcomes in
            if let failure = outcomes.lazy.compactMap(\.failure).first {
                log.warning("notice not published", ["reason": "\(failure.reason)"])
            }
            PublishEndpoint.respond(publish.rooms, outcomes, on: connection)
        }
    }

    /// - Parameter onDone: called once, with an outcome for each room, perhaps before this returns.
    private func send(_ publish: PublishRequest, onDone: @escaping ([Outcome]) -> Void) {
        var outcomes = [Outcome?](repeating: nil, count: publish.rooms.count)
        var missingCount = outcomes.count
        for (index, room) in publish.rooms.enumerated() {
            send(publish, to: room) { outcome in
                outcomes[index] = outcome
                missingCount -= 1
                if missingCount == 0 { onDone(outcomes.compactMap { $0 }) }
            }
        }
    }

    private func send(_ publish: PublishRequest, to room: RoomId, _ onDone: @escaping (Outcome) -> Void) {
        guard let durability = publish.durability else {
            let channel = channels.room(room)
            let command = RedisCommand([[UInt8]("PUBLISH"), channel, publish.payload])
            return link.send(command, near: channel) { [isCounted = !link.isCluster] result in
                switch result {
                case .success(let reply):
                    onDone(.published(nodeCount: isCounted ? reply.integer ?? 0 : nil))
                case .failure(let failure): onDone(.failed(failure))
                }
            }
        }
        let notice = DurableNotice(
            room: room, payload: publish.payload, once: durability.once, bounds: durability.bounds)
        sender.publish(notice) { [isCounted = !link.isCluster] result in
            switch result {
            case .success(let outcome): onDone(.stored(outcome, isCounted: isCounted))
            case .failure(let failure): onDone(.failed(failure))
            }
        }
    }

    private static func respond(_ rooms: [RoomId], _ outcomes: [Outcome], on connection: HttpConnection) {
        let isComplete = outcomes.allSatisfy { $0.failure == nil }
        let body = Answer.object {
            if !isComplete { $0.member("data", Answer.serviceUnavailableText) }
            $0.member("rooms", array: zip(rooms, outcomes)) { json, pair in
                json.object {
                    $0.member("room", pair.0.description)
                    pair.1.write(to: &$0)
                }
            }
        }
        connection.respond(
            isComplete ? .ok : .serviceUnavailable,
            fields: fields + (isComplete ? [] : [Answer.retryAfter(seconds: 1)]), body: body)
    }
}

extension PublishEndpoint.Outcome {
    var failure: RedisFailure? { if case .failed(let failure) = self { failure } else { nil } }

    /// Writes its members into the object of the room.
    fileprivate func write(to json: inout JsonWriter) {
        switch self {
        case .published(let nodeCount): json.member("nodes", nodeCount)
        case .stored(let outcome, let isCounted):
            json.member("nodes", isCounted ? outcome.nodeCount : nil)
            json.member("id", outcome.id.description)
            if outcome.nodeCount == nil { json.member("known", true) }
        case .failed(.refused(let message)): json.member("error", message)
        case .failed(.unavailable(let reason)):
            json.member("error", "\(reason): published or not, nobody knows")
        }
    }
}

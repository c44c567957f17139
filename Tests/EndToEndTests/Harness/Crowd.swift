// Thousands of clients, each in two rooms of its own; the driver itself looks at what they get.
import Testing

struct Crowd: Sendable {
    private let driver: Driver
    private let id: Int
    let clientCount: Int
    private var number: JSON { .number(Double(id)) }

    /// Connects the clients.
    init(_ node: GatewayNode, clientCount: Int) async throws {
        driver = node.driver
        self.clientCount = clientCount
        let reply = try await driver.call(
            "crowd_open", ["port": .number(Double(node.port)), "count": .number(Double(clientCount))])
        guard let id = reply.int else { throw HarnessError("no crowd: \(reply)") }
        self.id = id
    }

    /// Publishes to each room, at a server.
    func publish(at server: RedisServer) async throws {
        try await driver.call("crowd_publish", ["id": number, "port": .number(Double(server.port))])
    }

    /// Reads until each client has a notice of each of its rooms: how many clients got what, such as
    /// `gap first second`.
    func read() async throws -> [String: Int] {
        let reply = try await driver.call("crowd_read", ["id": number])
        guard case .object(let counts) = reply else { throw HarnessError("no counts: \(reply)") }
        return counts.compactMapValues(\.int)
    }
}

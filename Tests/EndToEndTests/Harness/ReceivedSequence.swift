// Bulk checks: the driver itself counts and compares, so that thousands of messages do not cross its pipe.

/// What a client got of numbered notices.
struct ReceivedSequence: Sendable, Equatable {
    let count: Int
    /// The index of the first message that is not the expected one.
    let firstWrong: Int?
}

extension Driver {
    /// Waits until each client has `count` messages (or is closed), and tells what each got.
    func sequences(
        _ clients: [Client], count: Int, within patience: Duration = .patience
    ) async throws -> [ReceivedSequence] {
        let reply = try await call(
            "ws_sequence",
            [
                "ids": .array(clients.map { .number(Double($0.id)) }), "count": .number(Double(count)),
                "timeout": .number(patience.seconds),
            ])
        return (reply.array ?? []).map {
            ReceivedSequence(count: $0["count"].int ?? 0, firstWrong: $0["wrong"].int)
        }
    }
}

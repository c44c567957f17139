@testable import Redis

extension Result<RedisReply, RedisFailure> {
    /// A text or a number as it is, a failure with its kind.
    var words: String {
        switch self {
        case .success(let reply): reply.string ?? reply.integer.map(String.init) ?? "?"
        case .failure(.refused(let message)): "refused: \(message)"
        case .failure(.unavailable(let message)): "unavailable: \(message)"
        }
    }
}

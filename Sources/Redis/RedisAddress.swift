// Where a Redis server listens, with nothing left to resolve. Pure.

/// A numeric TCP address or a Unix socket.
package enum RedisAddress: Equatable, Sendable {
    case tcp(host: String, port: UInt16)
    case unix(path: String)
}

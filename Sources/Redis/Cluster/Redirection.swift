// What a node of a Redis Cluster says instead of an answer. Pure.
//
// Source: Redis Cluster specification, "Redirection and resharding".

import Bytes

/// Why a node of a cluster did not carry out a command.
enum Redirection: Equatable {
    /// Another node has the slot; nil if the node does not say which.
    case moved(slot: Int, to: RedisURL.Address?)
    /// The slot is on its way, and another node takes this one command, behind ASKING.
    case ask(slot: Int, to: RedisURL.Address?)
    /// The keys of the command are on both sides of a move.
    case tryAgain
    /// Nobody has the slot, or too many nodes cannot be reached.
    case clusterDown

    /// - Parameters:
    ///   - message: the error, such as `MOVED 8978 127.0.0.1:7003`.
    ///   - host: of the node that was asked: a node without a host of its own is on the same.
    /// - Returns: nil for any other error.
    init?(_ message: String, askedHost host: String) {
        let words = message.split(separator: " ")
        switch words.first {
        case "MOVED", "ASK":
            guard words.count >= 3, let slot = Int(words[1]), (0..<HashSlot.count).contains(slot) else {
                return nil
            }
            let address = Redirection.address(words[2], askedHost: host)
            self =
                words[0] == "MOVED"
                ? .moved(slot: slot, to: address) : .ask(slot: slot, to: address)
        case "TRYAGAIN": self = .tryAgain
        case "CLUSTERDOWN": self = .clusterDown
        default: return nil
        }
    }

    /// `host:port`; the host may be an IPv6 address without brackets, so the last colon counts, or empty.
    static func address(_ text: some StringProtocol, askedHost: String) -> RedisURL.Address? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        return address(
            host: String(text[..<colon]), port: Int64(text[text.index(after: colon)...]),
            askedHost: askedHost)
    }

    /// - Parameter host: nil and empty mean the host that was asked; a question mark, that nobody knows.
    static func address(host: String?, port: Int64?, askedHost: String) -> RedisURL.Address? {
        guard let port, (1...65_535).contains(port), host != "?" else { return nil }
        let known = host.flatMap { $0.isEmpty ? nil : $0 } ?? askedHost
        return .tcp(host: known, port: Int(port))
    }
}

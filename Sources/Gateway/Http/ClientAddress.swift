// The address from which a request really comes. Pure.

import HTTP
import Network

/// Finds the client behind proxies.
enum ClientAddress {
    /// The peer's address; or, if the peer is a trusted proxy, the last address of X-Forwarded-For that is
    /// not one itself. Entries further left are the client's own word and prove nothing. An entry that is no
    /// address ends the walk at the proxy that wrote it.
    static func find(_ request: HttpRequestHead, peer: IPAddress, trusted: [CidrBlock]) -> IPAddress {
        var client = peer
        guard isTrusted(client, trusted) else { return client }
        for entry in request.fields.items(of: "X-Forwarded-For").reversed() {
            guard let address = parse(entry) else { return client }
            client = address
            guard isTrusted(client, trusted) else { return client }
        }
        return client
    }

    private static func isTrusted(_ address: IPAddress, _ trusted: [CidrBlock]) -> Bool {
        trusted.contains { $0.contains(address) }
    }

    /// An address, perhaps in brackets or with a port as some proxies write it: `a.b.c.d:port`, `[v6]`,
    /// `[v6]:port`.
    private static func parse(_ entry: String) -> IPAddress? {
        IPAddress(entry) ?? Endpoint(entry, defaultPort: 0).flatMap { IPAddress($0.host) }
    }
}

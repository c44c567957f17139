// The subprotocols of a handshake (RFC 6455 1.9), which may carry the token. Pure.

/// What clients offer in `Sec-WebSocket-Protocol`: `roomcast`, and beside it or alone `token.<token>`, for
/// those who keep tokens out of URLs.
///
/// A browser fails a connection whose server selects none of what its page has offered. So one is selected:
/// `roomcast` where it is offered, because a token is not sent back without need.
enum Subprotocol {
    private static let name = "roomcast"
    private static let tokenPrefix = "token."

    /// The token of the first offer that carries one, maybe empty; nil without such an offer.
    static func token(in offers: [String]) -> Substring? {
        offers.first { $0.hasPrefix(tokenPrefix) }?.dropFirst(tokenPrefix.count)
    }

    /// Which of the offers the 101 selects; nil for none, as other subprotocols are unknown here.
    static func selected(of offers: [String]) -> String? {
        offers.contains(name) ? name : offers.first { $0.hasPrefix(tokenPrefix) }
    }
}

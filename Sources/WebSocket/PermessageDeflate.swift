// The agreement of both ends on compression (RFC 7692 sections 5 and 7.1). Immutable values, any thread.

import HTTP

/// permessage-deflate as this end speaks it: every message stands for itself (no context takeover) in either
/// direction, so that one compressed frame serves all clients and nothing is kept for a connection.
package struct PermessageDeflate: Sendable, Equatable {
    /// Whether the package is built with zlib (package trait Compression).
    package static let isBuiltIn = ZlibStream.isBuiltIn
    /// What a build without it says of an option that needs it.
    package static let absence =
        "built without zlib, expected a build with the package trait Compression"

    /// The window of what this end compresses, 4 KiB: all of a usual notice. One for all clients, because
    /// they share frames, so that clients that ask for a larger one or for none get it too.
    package static let windowBits = 12

    static let field: StaticString = "Sec-WebSocket-Extensions"
    private static let name = "permessage-deflate"
    private static let serverNoTakeover = "server_no_context_takeover"
    private static let clientNoTakeover = "client_no_context_takeover"
    private static let serverWindow = "server_max_window_bits"
    private static let clientWindow = "client_max_window_bits"

    /// Whether the client has limited our window, so that the answer names it.
    private let namesWindow: Bool

    /// The first offer of a request that this end can take; nil declines them all, as does a list that breaks
    /// the grammar.
    package init?(offersOf fields: HttpFields) {
        guard let offers = ExtensionItem.list(fields, PermessageDeflate.field),
            let accepted = offers.lazy.compactMap(PermessageDeflate.init(offer:)).first
        else { return nil }
        self = accepted
    }

    /// Declines what section 7.1 says must be declined: a parameter that is unknown, repeated or without a
    /// proper value, and a window that is smaller than ours.
    private init?(offer: ExtensionItem) {
        guard offer.name == PermessageDeflate.name, offer.hasDistinctParameters else { return nil }
        var namesWindow = false
        for (name, value) in offer.parameters {
            switch (name, value) {
            case (PermessageDeflate.serverNoTakeover, nil), (PermessageDeflate.clientNoTakeover, nil),
                (PermessageDeflate.clientWindow, nil):
                break
            case (PermessageDeflate.clientWindow, let value?):
                guard PermessageDeflate.windowBits(value) != nil else { return nil }
            case (PermessageDeflate.serverWindow, let value?):
                guard let bits = PermessageDeflate.windowBits(value), bits >= PermessageDeflate.windowBits
                else { return nil }
                namesWindow = true
            default: return nil
            }
        }
        self.namesWindow = namesWindow
    }

    /// What the 101 says.
    var answer: String {
        let terms = [
            PermessageDeflate.name, PermessageDeflate.serverNoTakeover, PermessageDeflate.clientNoTakeover,
        ]
        let window = namesWindow ? ["\(PermessageDeflate.serverWindow)=\(PermessageDeflate.windowBits)"] : []
        return (terms + window).joined(separator: "; ")
    }

    /// 8 to 15, in digits without a leading zero.
    private static func windowBits(_ text: String) -> Int? {
        guard let bits = Int(text), (8...15).contains(bits), "\(bits)" == text else { return nil }
        return bits
    }

    // MARK: A client's side

    /// What a client asks for whose decoder starts anew with each message, and which compresses nothing.
    static let offer = "\(name); \(serverNoTakeover)"

    /// Whether a server's answer takes that offer: nil for no answer, false for one that must not be.
    static func isAccepted(_ fields: HttpFields) -> Bool? {
        guard fields.count(of: field) > 0 else { return nil }
        guard let items = ExtensionItem.list(fields, field), items.count == 1, items[0].name == name,
            items[0].hasDistinctParameters
        else { return false }
        // Parameters for windows answer what was not offered (sections 7.1.2.1 and 7.1.2.2).
        let parameters = items[0].parameters
        return parameters.contains { $0.name == serverNoTakeover }
            && parameters.allSatisfy {
                $0.value == nil && [serverNoTakeover, clientNoTakeover].contains($0.name)
            }
    }
}

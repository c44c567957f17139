// Which pages may open a WebSocket: browsers send the page's origin with the handshake (RFC 6455 4.1, RFC
// 6454 7).

import Options

/// The origins that may connect.
enum AllowedOrigins: Sendable, Equatable {
    case any
    /// Lower-case `scheme://host[:port]`, the scheme's own port left out.
    case list(Set<String>)

    /// Whether a handshake with this `Origin` header may go on; `null` (a sandboxed page) only when any may.
    func allows(_ origin: String) -> Bool {
        switch self {
        case .any: true
        case .list(let origins): Self.normalized(origin).map(origins.contains) ?? false
        }
    }

    /// `*`, or a comma-separated list of origins.
    static let converter = TextConverter(expected: "* or a comma-separated list of scheme://host[:port]") {
        text -> AllowedOrigins? in
        if text == "*" { return .any }
        let item = TextConverter(expected: "", parse: normalized)
        guard let origins = ListConverter(item).value(of: text), !origins.isEmpty else { return nil }
        return .list(Set(origins))
    }

    /// The form in which origins are compared; nil when the text is no `scheme://host[:port]`.
    static func normalized(_ text: String) -> String? {
        let lower = text.lowercased()
        guard let separator = lower.firstRange(of: "://") else { return nil }
        let scheme = lower[..<separator.lowerBound]
        let authority = lower[separator.upperBound...]
        guard !scheme.isEmpty, scheme.utf8.allSatisfy(isSchemeByte) else { return nil }
        let standardPort = ["http": 80, "ws": 80, "https": 443, "wss": 443][String(scheme)]
        // Endpoint checks host and port; a port is put behind an authority that has none.
        if let endpoint = Endpoint(authority) {
            let isStandard = endpoint.port == standardPort
            return "\(scheme)://"
                + (isStandard ? String("\(endpoint)".dropLast(":\(endpoint.port)".count)) : "\(endpoint)")
        }
        return Endpoint("\(authority):1") == nil ? nil : "\(scheme)://\(authority)"
    }

    private static func isSchemeByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, 0x2B, 0x2D, 0x2E: true
        default: false
        }
    }
}

// The text of an origin, `scheme://host[:port]` (RFC 6454). Pure.

import Network

/// Reads origins as browsers write them.
enum WebOrigin {
    static let standardPorts = ["http": 80, "ws": 80, "https": 443, "wss": 443]

    /// The scheme of a text that is `scheme://` and nothing else, as browsers write it for files
    /// (`file://`), in small letters.
    static func lonelyScheme(_ text: String) -> String? {
        guard text.hasSuffix("://") else { return nil }
        let scheme = text.dropLast("://".count).lowercased()
        return isScheme(scheme) ? scheme : nil
    }

    /// The form in which origins are compared: lower-case `scheme://host[:port]`, the scheme's own port left
    /// out; nil if the text is not an origin.
    static func normalized(_ text: String) -> String? {
        let lower = text.lowercased()
        guard let separator = lower.firstRange(of: "://") else { return nil }
        let scheme = String(lower[..<separator.lowerBound])
        let authority = lower[separator.upperBound...]
        guard isScheme(scheme) else { return nil }
        guard let standardPort = standardPorts[scheme] else { return opaque(scheme, authority) }
        guard let endpoint = Endpoint(authority, defaultPort: standardPort) else { return nil }
        let port = ":\(endpoint.port)"
        return "\(scheme)://" + "\(endpoint)".dropLast(endpoint.port == standardPort ? port.count : 0)
    }

    /// Whether `host[:port]` is an address, which has no hosts below it.
    static func isAddress(_ authority: some StringProtocol) -> Bool {
        Endpoint(authority, defaultPort: 0)?.isAddress == true
    }

    /// Of other schemes: after `://` stands a name that only its application knows, such as an extension's
    /// id or `-`, perhaps with a port.
    private static func opaque(_ scheme: String, _ authority: Substring) -> String? {
        let host = authority.prefix { $0 != ":" }
        let port = authority[host.endIndex...].dropFirst()
        guard (1...253).contains(host.utf8.count), host.utf8.allSatisfy(isNameByte),
            host.endIndex == authority.endIndex || Endpoint("x:\(port)") != nil
        else { return nil }
        return "\(scheme)://\(authority)"
    }

    /// RFC 3986 3.1, in small letters.
    private static func isScheme(_ text: String) -> Bool {
        guard let first = text.utf8.first, (0x61...0x7A).contains(first) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): true
            default: false
            }
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

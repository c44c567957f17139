// Which pages may open a WebSocket: browsers send the page's origin with the handshake (RFC 6455 4.1, RFC
// 6454 7). Pure.

import Network
import Options

/// The origins that may connect.
enum AllowedOrigins: Sendable, Equatable {
    case any
    case list(OriginList)

    /// Whether a handshake with this `Origin` header may go on.
    func allows(_ origin: String) -> Bool {
        switch self {
        case .any: true
        case .list(let origins): origins.allows(origin)
        }
    }

    /// `*`, or a comma-separated list of origins.
    static let converter = TextConverter(
        expected:
            "* or a comma-separated list of scheme://host[:port], scheme://*.host[:port], null, file://, or "
            + "another scheme:// for all of its pages"
    ) { text -> AllowedOrigins? in
        if text == "*" { return .any }
        let items = ListConverter(TextConverter(expected: "", parse: { OriginPattern($0) })).value(of: text)
        guard let items, !items.isEmpty else { return nil }
        return .list(OriginList(items))
    }
}

/// One item of the list.
enum OriginPattern: Sendable, Equatable {
    /// A whole origin in the form of `Origin.normalized`, or `null`.
    case exactly(String)
    /// Every origin of a scheme: pages of applications and extensions, whose hosts have no stable meaning.
    case scheme(String)
    /// Hosts below another: the beginning of the origin, such as `https://`, and its end, such as
    /// `.example.com` or `.example.com:8443`.
    case below(begin: String, end: String)

    /// - Returns: nil if the text is not an item of the list.
    init?(_ text: String) {
        if text == "null" {
            self = .exactly(text)
        } else if let scheme = Origin.lonelyScheme(text) {
            // `https://` alone would allow every page of the web.
            guard Origin.standardPorts[scheme] == nil else { return nil }
            self = .scheme(scheme)
        } else if let star = text.firstRange(of: "://*.") {
            let scheme = text[..<star.lowerBound]
            guard let parent = Origin.normalized("\(scheme)://\(text[star.upperBound...])"),
                let separator = parent.firstRange(of: "://"),
                !Origin.isAddress(parent[separator.upperBound...])
            else { return nil }
            self = .below(
                begin: String(parent[..<separator.upperBound]), end: "." + parent[separator.upperBound...])
        } else {
            guard let origin = Origin.normalized(text) else { return nil }
            self = .exactly(origin)
        }
    }
}

/// The items, for a look-up in each handshake and each answer.
struct OriginList: Sendable, Equatable {
    private var exact: Set<String> = []
    private var schemes: Set<String> = []
    private var parents: [(begin: String, end: String)] = []

    init(_ patterns: [OriginPattern]) {
        for pattern in patterns {
            switch pattern {
            case .exactly(let origin): exact.insert(origin)
            case .scheme(let scheme): schemes.insert(scheme)
            case .below(let begin, let end): parents.append((begin, end))
            }
        }
    }

    /// - Complexity: O(items with `*`).
    func allows(_ text: String) -> Bool {
        // A sandboxed page, or one of a file.
        if text == "null" { return exact.contains(text) }
        if let scheme = Origin.lonelyScheme(text) { return schemes.contains(scheme) }
        guard let origin = Origin.normalized(text) else { return false }
        if exact.contains(origin) { return true }
        if !schemes.isEmpty, schemes.contains(String(origin.prefix { $0 != ":" })) { return true }
        return parents.contains {
            origin.utf8.count > $0.begin.utf8.count + $0.end.utf8.count && origin.hasPrefix($0.begin)
                && origin.hasSuffix($0.end)
        }
    }

    static func == (left: OriginList, right: OriginList) -> Bool {
        left.exact == right.exact && left.schemes == right.schemes
            && left.parents.elementsEqual(right.parents) { $0 == $1 }
    }
}

/// The text of an origin.
enum Origin {
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

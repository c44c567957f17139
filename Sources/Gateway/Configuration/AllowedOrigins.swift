// Which pages may open a WebSocket: browsers send the page's origin with the handshake (RFC 6455 4.1, RFC
// 6454 7). Pure.

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
    /// A whole origin in the form of `WebOrigin.normalized`, or `null`.
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
        } else if let scheme = WebOrigin.lonelyScheme(text) {
            // `https://` alone would allow every page of the web.
            guard WebOrigin.standardPorts[scheme] == nil else { return nil }
            self = .scheme(scheme)
        } else if let star = text.firstRange(of: "://*.") {
            let scheme = text[..<star.lowerBound]
            guard let parent = WebOrigin.normalized("\(scheme)://\(text[star.upperBound...])"),
                let separator = parent.firstRange(of: "://"),
                !WebOrigin.isAddress(parent[separator.upperBound...])
            else { return nil }
            self = .below(
                begin: String(parent[..<separator.upperBound]), end: "." + parent[separator.upperBound...])
        } else {
            guard let origin = WebOrigin.normalized(text) else { return nil }
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
        if let scheme = WebOrigin.lonelyScheme(text) { return schemes.contains(scheme) }
        guard let origin = WebOrigin.normalized(text) else { return false }
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

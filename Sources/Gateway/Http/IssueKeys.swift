// The secret with which the application's backend asks for tokens. Pure.

import HTTP

/// The keys of which a request for a token has to show one. Two are valid while a backend changes from the
/// one to the other.
struct IssueKeys: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// The form of the option, for error messages.
    static let form = "one key of \(BearerKey.form), or two separated by a comma"
    private static let maximumCount = 2

    private let keys: [BearerKey]

    /// - Returns: nil when the text does not have the form.
    init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        keys = parts.compactMap { BearerKey($0) }
        guard parts.count <= IssueKeys.maximumCount, keys.count == parts.count else { return nil }
    }

    /// Whether `request` shows one of the keys. It is compared with every one of them, whatever is found on
    /// the way.
    func allow(_ request: HttpRequestHead) -> Bool {
        guard let shown = BearerKey.shown(by: request) else { return false }
        return keys.count { $0.matches(shown) } > 0
    }

    var description: String { "\(keys.count) issue \(keys.count == 1 ? "key" : "keys")" }

    /// Keeps `dump` and string interpolation of what contains the keys from showing them.
    var customMirror: Mirror { Mirror(self, children: ["keys": keys.count]) }
}

// Who may have tokens minted: the secret that the application's backend shows. Pure.

import WebSocket

/// The keys of which a request for a token has to show one. Two are valid while a backend changes from the one to the
/// other.
struct IssueKeys: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// The form of the option, for error messages.
    static let form = "one key of 16 to 256 visible ASCII characters, or two separated by a comma"
    private static let lengths = 16...256
    private static let maximumCount = 2

    private let keys: [[UInt8]]

    /// - Returns: nil when the text does not have the form.
    init?(_ text: String) {
        let keys = text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map { Array($0) }
        let areValid = keys.allSatisfy { key in
            IssueKeys.lengths.contains(key.count) && key.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        }
        guard keys.count <= IssueKeys.maximumCount, areValid else { return nil }
        self.keys = keys
    }

    /// Whether `request` shows one of the keys: `Authorization: Bearer <key>` (RFC 6750 2.1), once.
    func allow(_ request: HttpRequestHead) -> Bool {
        guard request.fields.count(of: "Authorization") == 1,
            let credentials = request.fields.value(of: "Authorization"),
            let shown = IssueKeys.bearer(credentials)
        else { return false }
        return isKey(shown)
    }

    /// Compares with every key and to the last byte, whatever is found on the way: the time tells the length of what
    /// was shown, which its sender knows, and nothing of a key.
    private func isKey(_ shown: [UInt8]) -> Bool {
        var isFound = false
        for key in keys {
            var difference = key.count ^ shown.count
            for index in shown.indices { difference |= Int(shown[index] ^ key[index % key.count]) }
            isFound = difference == 0 || isFound
        }
        return isFound
    }

    /// What stands behind the scheme, whose name has no case (RFC 9110 11.1); nil for another scheme.
    private static func bearer(_ credentials: String) -> [UInt8]? {
        let scheme = "bearer "
        guard credentials.prefix(scheme.count).lowercased() == scheme else { return nil }
        return Array(credentials.dropFirst(scheme.count).utf8.drop { $0 == UInt8(ascii: " ") })
    }

    var description: String { "\(keys.count) issue \(keys.count == 1 ? "key" : "keys")" }

    /// Keeps `dump` and string interpolation of what contains the keys from showing them.
    var customMirror: Mirror { Mirror(self, children: ["keys": keys.count]) }
}

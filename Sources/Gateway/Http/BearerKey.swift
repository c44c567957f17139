// A secret that a request shows to be let in. Pure.

import HTTP

/// One key of an option, and the check whether a request shows it.
struct BearerKey: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// What a key is made of, for error messages.
    static let form = "16 to 256 visible ASCII characters, 8 of them different"
    private static let lengths = 16...256
    /// Fewer are found in placeholders such as `changemechangeme…` and `0000…`, and never in random ones.
    private static let minimumDifferentCount = 8

    private let bytes: [UInt8]

    /// - Returns: nil when the text does not have the form.
    init?(_ text: some StringProtocol) {
        bytes = Array(text.utf8)
        guard BearerKey.lengths.contains(bytes.count), bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            Set(bytes).count >= BearerKey.minimumDifferentCount
        else { return nil }
    }

    /// What `request` shows: `Authorization: Bearer <key>` (RFC 6750 2.1), once; nil if it shows nothing of
    /// the kind.
    static func shown(by request: HttpRequestHead) -> [UInt8]? {
        let values = request.fields.values(of: "Authorization")
        let scheme = "bearer "
        // The scheme's name has no case (RFC 9110 11.1).
        guard values.count == 1, values[0].prefix(scheme.count).lowercased() == scheme else { return nil }
        return Array(values[0].dropFirst(scheme.count).utf8.drop { $0 == UInt8(ascii: " ") })
    }

    /// Compares to the last byte, whatever is found on the way: the time shows the length of what was sent,
    /// which its sender knows, and nothing of the key.
    func matches(_ shown: [UInt8]) -> Bool {
        var difference = bytes.count ^ shown.count
        for index in shown.indices { difference |= Int(shown[index] ^ bytes[index % bytes.count]) }
        return difference == 0
    }

    var description: String { "a key" }

    /// Keeps `dump` and string interpolation of what contains the key from showing it.
    var customMirror: Mirror { Mirror(self, children: ["key": "…"]) }
}

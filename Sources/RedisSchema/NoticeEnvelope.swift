// The message that a room's clients receive, as bytes:
//
//     {"type":<JSON string>,"data":<JSON value, as given>}
//
// Gateways pass it on unchanged, so what the publisher builds is what clients read.

/// Builds the bytes of a notice.
package enum NoticeEnvelope {
    /// The type of a notice when the publisher names none.
    package static let defaultType = "notice"

    /// The envelope round a JSON value.
    ///
    /// - Parameters:
    ///   - type: any text; it is escaped.
    ///   - data: one JSON value, checked by the caller; it is embedded byte for byte.
    /// - Complexity: O(type + data).
    package static func bytes(type: String, data: some Collection<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(type.utf8.count + data.count + 24)
        bytes += #"{"type":"#.utf8
        appendString(type, to: &bytes)
        bytes += #","data":"#.utf8
        bytes += data
        bytes.append(0x7D)
        return bytes
    }

    /// A text as a JSON string, quotes included: what RFC 8259 7 requires to be escaped is, nothing else.
    package static func appendString(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(0x22)
        for byte in text.utf8 {
            switch byte {
            case 0x22, 0x5C: bytes += [0x5C, byte]
            case 0x0A: bytes += [0x5C, 0x6E]
            case 0x0D: bytes += [0x5C, 0x72]
            case 0x09: bytes += [0x5C, 0x74]
            case 0x00..<0x20: bytes += [0x5C, 0x75, 0x30, 0x30, hexDigit(byte >> 4), hexDigit(byte & 15)]
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

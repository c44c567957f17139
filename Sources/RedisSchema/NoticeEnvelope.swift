// The message that a room's clients receive, as bytes:
//
//     {"type":<JSON string>,"data":<JSON value, as given>}
//
// Gateways pass it on unchanged, so what the publisher builds is what clients read.

import JSON

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
        JsonWriter.object(reservedBytes: type.utf8.count + data.count + 24) {
            $0.member("type", type)
            $0.member("data", json: data)
        }
    }
}

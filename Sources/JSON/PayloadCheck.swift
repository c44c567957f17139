// The check of a published payload before the broadcaster makes a frame of it.
// Runs once for each published message, on the subscriber's thread.

import Bytes

/// Whether a published payload may go out as a text frame.
///
/// Two passes: UTF-8 first, then JSON. ASCII passes the first at eight bytes a step, so it costs little next
/// to the second, and a payload with both faults is always reported as the same one.
package enum PayloadCheck: Sendable, Equatable {
    /// UTF-8 and exactly one JSON value.
    case valid
    /// Not UTF-8; whether it is JSON was not looked at.
    case notUtf8
    /// UTF-8 but not one JSON value, or nested deeper than `JsonValidator.maximumDepth`.
    case notJson

    /// Checks a whole payload; an empty one is `notJson`.
    /// - Complexity: O(count), no allocation.
    package init(_ payload: UnsafeRawBufferPointer) {
        if !Utf8Validator.isValid(payload) {
            self = .notUtf8
        } else {
            self = JsonValidator.isValid(payload) ? .valid : .notJson
        }
    }

    /// Where and why a payload is invalid, in one line of ASCII that shows nothing else of it; nil if it is
    /// valid.
    /// - Complexity: O(count): for rare reports.
    package static func fault(in payload: UnsafeRawBufferPointer) -> String? {
        if let offset = Utf8Validator.fault(in: payload) {
            let found = offset < payload.count ? Ascii.shown(payload[offset]) : "the end"
            return "expected UTF-8 at byte \(offset), found \(found)"
        }
        return JsonValidator.fault(in: payload)?.description
    }
}

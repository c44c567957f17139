// The check that a published payload has to pass. Pure; runs on the subscriber's loop.

import JSON
import RedisSchema

/// Why a published payload was not delivered.
enum HeldBackReason: Int, CaseIterable, CustomStringConvertible {
    case notUtf8, notJson, tooLarge

    /// nil when nothing speaks against the payload.
    init?(_ payload: UnsafeRawBufferPointer, maximumBytes: Int) {
        guard payload.count <= maximumBytes else {
            self = .tooLarge
            return
        }
        switch PayloadCheck(payload) {
        case .valid: return nil
        case .notUtf8: self = .notUtf8
        case .notJson: self = .notJson
        }
    }

    var description: String {
        switch self {
        case .notUtf8: "not_utf8"
        case .notJson: "not_json"
        case .tooLarge: "too_large"
        }
    }

    /// What the log says of a payload that is held back: where it is at fault, and nothing else of what is
    /// in it.
    ///
    /// - Complexity: O(payload): for a line that is written at most once a second.
    static func fields(_ reason: HeldBackReason, _ room: RoomId, _ payload: UnsafeRawBufferPointer)
        -> Log.Fields
    {
        var fields: Log.Fields = [
            "room": "\(room)", "reason": reason.description, "bytes": "\(payload.count)",
        ]
        if reason != .tooLarge, let fault = PayloadCheck.fault(in: payload) { fields.append("fault", fault) }
        return fields
    }
}

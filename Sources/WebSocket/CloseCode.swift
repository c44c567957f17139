// Close codes and the payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4). Pure values, any thread.

import Bytes

/// Why a connection ends, as it stands in a Close frame.
package struct CloseCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The purpose of the connection is fulfilled.
    package static let normal = CloseCode(rawValue: 1000)
    /// The node drains or stops.
    package static let goingAway = CloseCode(rawValue: 1001)
    /// The peer broke the framing rules.
    package static let protocolError = CloseCode(rawValue: 1002)
    /// A text message or close reason of the peer is not UTF-8.
    package static let invalidPayload = CloseCode(rawValue: 1007)
    /// The peer sends more control frames than any peer needs, which the protocol itself does not forbid.
    package static let policyViolation = CloseCode(rawValue: 1008)
    /// A message of the peer is over the limit.
    package static let messageTooBig = CloseCode(rawValue: 1009)
    /// The client reads too slowly: its queue passed the limit.
    package static let tryAgainLater = CloseCode(rawValue: 1013)
    /// No heartbeat came in time.
    package static let heartbeatTimeout = CloseCode(rawValue: 4000)
    /// A newer connection uses the same token.
    package static let replaced = CloseCode(rawValue: 4001)
    /// The token was revoked.
    package static let tokenRevoked = CloseCode(rawValue: 4003)

    /// True for codes that a Close frame may carry: the registered ones, except those that only an API
    /// reports (1005, 1006, 1015) and the undefined 1004, and the ranges of libraries (3000) and
    /// applications (4000).
    package var isLegalOnWire: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// The payload of a Close frame: nothing, or two bytes of code in network order and a UTF-8 reason.
package enum ClosePayload {
    /// The longest reason: a control payload without the two bytes of the code.
    package static let maximumReasonBytes = FrameHeader.maximumControlPayloadBytes - 2

    /// Appends code and reason to `output`: 2 to 125 bytes.
    /// - Parameter reason: Cut to 123 bytes at the end of a character (a Unicode scalar).
    package static func append(_ code: CloseCode, reason: String, to output: inout [UInt8]) {
        precondition(code.isLegalOnWire, "this close code must not be sent")
        output.append(UInt8(code.rawValue >> 8))
        output.append(UInt8(code.rawValue & 0xFF))
        let utf8 = reason.utf8
        guard utf8.count > maximumReasonBytes else {
            output.append(contentsOf: utf8)
            return
        }
        var end = utf8.index(utf8.startIndex, offsetBy: maximumReasonBytes)
        // A continuation byte at the cut belongs to a character that began before it.
        while utf8[end] & 0xC0 == 0x80 { utf8.formIndex(before: &end) }
        output.append(contentsOf: utf8[..<end])
    }

    /// What a received payload says; its reason is a slice of what was given.
    package enum Content {
        /// A nil code stands for the empty payload; the reason is then empty.
        case valid(CloseCode?, reason: UnsafeRawBufferPointer)
        /// Answer with this code: 1002 for a lone byte or an illegal code, 1007 for a reason that is not
        /// UTF-8.
        case failure(CloseCode)
    }

    /// Reads the unmasked payload of a received Close frame.
    /// - Complexity: O(count).
    package static func decode(_ payload: UnsafeRawBufferPointer) -> Content {
        if payload.isEmpty { return .valid(nil, reason: payload) }
        guard payload.count >= 2 else { return .failure(.protocolError) }
        let code = CloseCode(rawValue: UInt16(payload[0]) << 8 | UInt16(payload[1]))
        guard code.isLegalOnWire else { return .failure(.protocolError) }
        let reason = payload.part(2..<payload.count)
        return Utf8Validator.isValid(reason) ? .valid(code, reason: reason) : .failure(.invalidPayload)
    }
}

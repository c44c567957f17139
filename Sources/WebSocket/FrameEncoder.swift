// Whole frames appended to a byte array: control frames of the gateway, and everything a test client sends.
// The road does not pass here: a shared frame is laid out once with `FrameHeader.encode`. Pure, any thread.

/// Appends frames to a caller's array, whose capacity is reused.
package enum FrameEncoder {
    /// Appends a header and `payload`, masked when a key is given.
    /// - Complexity: O(payload).
    package static func append(
        _ opcode: Opcode, payload: UnsafeRawBufferPointer, isFinal: Bool = true,
        isCompressed: Bool = false, maskingKey: MaskingKey? = nil, to output: inout [UInt8]
    ) {
        let header = FrameHeader(
            opcode, payloadBytes: payload.count, isFinal: isFinal, isCompressed: isCompressed,
            maskingKey: maskingKey)
        let start = output.count
        let payloadStart = start + header.encodedBytes
        output.append(contentsOf: repeatElement(0, count: header.encodedBytes))
        output.append(contentsOf: payload)
        output.withUnsafeMutableBytes { bytes in
            header.encode(into: UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
            if var key = maskingKey {
                key.apply(to: UnsafeMutableRawBufferPointer(rebasing: bytes[payloadStart...]))
            }
        }
    }

    /// Appends a Close frame. Without a code its payload is empty, and then so must be the reason.
    /// - Parameter reason: Cut to 123 bytes at the end of a character.
    package static func appendClose(
        _ code: CloseCode?, reason: String = "", maskingKey: MaskingKey? = nil, to output: inout [UInt8]
    ) {
        var payload: [UInt8] = []
        if let code {
            ClosePayload.append(code, reason: reason, to: &payload)
        } else {
            precondition(reason.isEmpty, "a close reason needs a code in front of it")
        }
        payload.withUnsafeBytes {
            append(.close, payload: $0, maskingKey: maskingKey, to: &output)
        }
    }
}

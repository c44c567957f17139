// RFC 6455 frames as bytes, for what a proper client library refuses to send, and a reader for the server's
// side.
import Foundation

enum Frame {
    /// A client's frame. The mask is fixed: what it is does not matter to the peer.
    static func client(
        _ opcode: UInt8, _ payload: [UInt8] = [], fin: Bool = true, reserved: UInt8 = 0, masked: Bool = true
    ) -> [UInt8] {
        let mask: [UInt8] = [0x37, 0xfa, 0x21, 0x3d]
        var bytes: [UInt8] = [(fin ? 0x80 : 0) | reserved << 4 | opcode]
        let flag: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ...125: bytes.append(flag | UInt8(payload.count))
        case ...65535: bytes += [flag | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default: bytes += [flag | 127] + (0..<8).reversed().map { UInt8(payload.count >> ($0 * 8) & 0xff) }
        }
        guard masked else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }

    static func close(_ code: Int, _ reason: [UInt8] = []) -> [UInt8] {
        client(8, [UInt8(code >> 8), UInt8(code & 0xff)] + reason)
    }

    struct Received: Sendable, Equatable {
        let firstByte: UInt8
        let payload: [UInt8]

        var isText: Bool { firstByte == 0x81 }
        var text: String { String(decoding: payload, as: UTF8.self) }
        /// The code of a Close frame.
        var closeCode: Int? {
            firstByte == 0x88 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
        }
    }

    /// Splits the bytes of a server into its frames.
    /// - Throws: `HarnessError` for a masked frame, a length that is not the shortest, or a part of a frame
    /// at the end.
    static func parse(_ bytes: [UInt8]) throws -> [Received] {
        var frames: [Received] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            var head = rest.prefix(2)
            guard let first = head.popFirst(), let second = head.popFirst(), second & 0x80 == 0 else {
                throw HarnessError("half a frame or a masked one at byte \(rest.startIndex)")
            }
            rest = rest.dropFirst(2)
            let extended = second == 127 ? 8 : second == 126 ? 2 : 0
            let length = extended == 0 ? Int(second) : rest.prefix(extended).reduce(0) { $0 << 8 | Int($1) }
            let shortest = length > 65535 ? 8 : length > 125 ? 2 : 0
            guard rest.count >= extended + length, extended == shortest else {
                throw HarnessError(
                    "\(rest.count) bytes where \(extended) + \(length) are due, of \(bytes.count)")
            }
            rest = rest.dropFirst(extended)
            frames.append(Received(firstByte: first, payload: Array(rest.prefix(length))))
            rest = rest.dropFirst(length)
        }
        return frames
    }
}

extension GatewayNode {
    /// A raw connection that has been upgraded: what comes next are frames.
    func rawSocket(
        _ rooms: String, token: String? = nil, headers: [String: String] = [:], receiveBufferBytes: Int = 0
    ) async throws -> RawConnection {
        var used = token
        if used == nil { used = try await self.token() }
        let raw = try await RawConnection(driver, port: port, receiveBufferBytes: receiveBufferBytes)
        let target = "/ws?token=\(used ?? "")&roomIds=\(rooms)"
        try await raw.send(requestText(target, headers: handshakeHeaders(replacing: headers)))
        let head = try await raw.receive(until: "\r\n\r\n").bytes
        guard String(decoding: head, as: UTF8.self).hasPrefix("HTTP/1.1 101 ") else {
            throw HarnessError("refused: \(String(decoding: head, as: UTF8.self))")
        }
        return raw
    }
}

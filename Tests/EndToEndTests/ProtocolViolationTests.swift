// Every reserved bit and opcode, missing masks, and frames of an extension that was offered but never agreed
// on.
import Testing

@Suite(.cluster())
struct ProtocolViolationTests {
    private static let letter: [UInt8] = [UInt8(ascii: "a")]
    static let opcodes: [UInt8] = [0, 1, 2, 8, 9, 10]
    static let reservedOpcodes: [UInt8] = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]

    /// Sends `bytes` behind `before`; the answer is one Close frame with 1002, then the end.
    private func expectProtocolError(
        _ bytes: [UInt8], _ raw: RawConnection, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        // What follows a violation is not looked at: this ping is never answered.
        try await raw.send(bytes + Frame.client(9, Self.letter))
        let (received, end) = try await raw.receive()
        #expect(try Frame.parse(received).map(\.closeCode) == [1002], sourceLocation: sourceLocation)
        #expect(end != nil, "the connection is still open", sourceLocation: sourceLocation)
        try await raw.close()
    }

    private func socket() async throws -> RawConnection {
        let cluster = try Cluster.current
        return try await cluster.node.rawSocket(cluster.room())
    }

    @Test(arguments: reservedOpcodes)
    func reservedOpcodeIsRefused(opcode: UInt8) async throws {
        for isFinal in [true, false] {
            try await expectProtocolError(
                Frame.client(opcode, Self.letter, fin: isFinal), try await socket())
        }
    }

    @Test(arguments: 1...7 as ClosedRange<UInt8>)
    func reservedBitsAreRefusedOnEveryOpcode(bits: UInt8) async throws {
        for opcode in Self.opcodes {
            // A continuation would be refused for having nothing to continue.
            let before = opcode == 0 ? Frame.client(1, Self.letter, fin: false) : []
            let frame = Frame.client(opcode, Self.letter, reserved: bits)
            try await expectProtocolError(before + frame, try await socket())
        }
    }

    @Test(arguments: opcodes)
    func frameWithoutAMaskIsRefused(opcode: UInt8) async throws {
        let before = opcode == 0 ? Frame.client(1, Self.letter, fin: false) : []
        let payload = opcode == 8 ? [3, 0xe8] : Self.letter
        try await expectProtocolError(
            before + Frame.client(opcode, payload, masked: false), try await socket())
        try await expectProtocolError(before + Frame.client(opcode, [], masked: false), try await socket())
    }

    /// Any key is right, the one that hides nothing too; the bytes that it uncovers are what is checked.
    @Test func maskUncoversWhatIsChecked() async throws {
        let raw = try await socket()
        // Valid text under a key of zeros, and the same bytes under a key that makes them none.
        let open: [UInt8] = [0x81, 0x82, 0, 0, 0, 0] + Array("ok".utf8)
        try await raw.send(open + Frame.client(9, Self.letter))
        #expect(try await raw.receive(3).bytes == [0x8a, 1, UInt8(ascii: "a")])
        try await raw.send([0x81, 0x82, 0xff, 0xff, 0, 0] + Array("ok".utf8))
        let (received, _) = try await raw.receive()
        #expect(try Frame.parse(received).map(\.closeCode) == [1007])
        try await raw.close()
    }

    @Test(arguments: [
        "permessage-deflate", "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=15, permessage-deflate",
        "x-webkit-deflate-frame", "permessage-bzip2; level=9, permessage-deflate",
        "permessage-deflate, ,;;=",
    ])
    func compressionIsDeclinedAndItsFramesAreRefused(offer: String) async throws {
        let cluster = try Cluster.current
        let token = try await cluster.node.token()
        let target = "/ws?token=\(token)&roomIds=\(cluster.room())"
        let answer = try await cluster.node.get(
            target, headers: handshakeHeaders(replacing: ["Sec-WebSocket-Extensions": offer]))
        #expect(answer.status == 101)
        #expect(answer.headers["sec-websocket-extensions"] == nil)
        // "a", deflated (RFC 7692, section 7.2.3), in a frame that says so.
        let compressed = Frame.client(1, [0x4a, 0x04, 0x00], reserved: 4)
        let raw = try await cluster.node.rawSocket(
            cluster.room(), headers: ["Sec-WebSocket-Extensions": offer])
        try await expectProtocolError(compressed, raw)
    }
}

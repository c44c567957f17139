#if TLS

    import COpenSSL
    import EventLoop
    import Glibc
    import TestSupport
    import Testing

    @testable import Redis

    /// The server of a stream under test: OpenSSL's own, on the other socket of a pair.
    private final class ServerEnd {
        private let context: OpaquePointer
        let ssl: OpaquePointer
        let socket: Socket
        var received: [UInt8] = []

        init(_ certificates: Certificates, on socket: Socket, oldestOnly: Bool = false) {
            context = SSL_CTX_new(TLS_server_method())
            if oldestOnly {
                SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_1_VERSION), nil)
                SSL_CTX_set_cipher_list(context, "DEFAULT@SECLEVEL=0")
            }
            SSL_CTX_use_certificate_chain_file(context, certificates.path("redis.crt"))
            SSL_CTX_use_PrivateKey_file(context, certificates.path("redis.key"), SSL_FILETYPE_PEM)
            ssl = SSL_new(context)
            self.socket = socket
            SSL_set_fd(ssl, socket.descriptor)
            SSL_set_accept_state(ssl)
        }

        deinit {
            SSL_free(ssl)
            SSL_CTX_free(context)
            socket.close()
        }

        /// Takes what is there.
        func read() {
            var buffer = [UInt8](repeating: 0, count: 16 << 10)
            while true {
                let count = SSL_read(ssl, &buffer, Int32(buffer.count))
                guard count > 0 else { return }
                received += buffer[..<Int(count)]
            }
        }
    }

    /// A stream under test on its socket, and what came out of it.
    private final class ClientEnd {
        let stream: TLSStream
        let socket: Socket
        var received: [UInt8] = []
        var isUp = false
        /// The latest outcome that is neither progress nor waiting.
        var end: TLSTransfer?

        init(_ context: TLSContext, on socket: Socket, host: String) {
            self.socket = socket
            stream = TLSStream(TLSPeer(context: context, host: host), socket: socket)
        }

        deinit { socket.close() }

        /// Hands over what the socket has, as it comes when it is read in such pieces.
        func pump(pieceBytes: Int = 16 << 10) {
            if !isUp { handIn([]) }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 1)
            defer { buffer.deallocate() }
            while end == nil, case .bytes(let count) = socket.read(into: buffer) {
                handIn(Array(buffer[..<count]))
            }
        }

        func handIn(_ bytes: [UInt8]) {
            // A copy that is gone afterwards, so that a stream that kept a part of it would be found out.
            bytes.withUnsafeBytes { bytes in
                stream.supply(bytes)
                if !isUp {
                    switch stream.shakeHands() {
                    case .bytes: isUp = true
                    case .wouldBlock: return
                    case let other:
                        end = other
                        return
                    }
                }
                while true {
                    switch stream.read({ received += Array($0) }) {
                    case .bytes: continue
                    case .wouldBlock: return
                    case let other:
                        end = other
                        return
                    }
                }
            }
        }

        func write(_ bytes: [UInt8]) -> TLSTransfer { bytes.withUnsafeBytes { stream.write($0) } }
    }

    @Suite(.serialized) struct TLSStreamTests {
        private static let certificates = Result { try Certificates(for: ["redis.example", "192.0.2.7"]) }

        private func ends(
            host: String = "redis.example", isVerified: Bool = true, bufferBytes: Int32 = 0,
            oldestOnly: Bool = false
        ) throws -> (ClientEnd, ServerEnd) {
            let certificates = try Self.certificates.get()
            let context = try TLSContext(
                TLSSettings(authorityPath: certificates.path("ca.crt"), isVerified: isVerified))
            let (near, far) = try socketPair(bufferBytes: bufferBytes)
            return (
                ClientEnd(context, on: near, host: host),
                ServerEnd(certificates, on: far, oldestOnly: oldestOnly)
            )
        }

        private func shakeHands(_ client: ClientEnd, _ server: ServerEnd, pieceBytes: Int = 16 << 10) {
            for _ in 0..<20 where client.end == nil {
                client.pump(pieceBytes: pieceBytes)
                if SSL_do_handshake(server.ssl) == 1, client.isUp { return }
            }
        }

        @Test(arguments: [1, 2, 5, 1000, 16 << 10]) func bytesComeInPieces(pieceBytes: Int) throws {
            let (client, server) = try ends()
            shakeHands(client, server, pieceBytes: pieceBytes)
            #expect(client.isUp)
            #expect(client.write(Array("PING\r\n".utf8)) == .bytes(6))
            server.read()
            #expect(server.received == Array("PING\r\n".utf8))
            let message = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            SSL_write(server.ssl, message, Int32(message.count))
            client.pump(pieceBytes: pieceBytes)
            #expect(client.received == message)
            #expect(client.end == nil)
        }

        @Test func messageOfAMebibyteComesInRecords() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            var random = SeededRandom(seed: 7)
            let message = random.bytes(1 << 20)
            SSL_ctrl(server.ssl, SSL_CTRL_MODE, Int(SSL_MODE_ENABLE_PARTIAL_WRITE), nil)
            var sentCount = 0
            while sentCount < message.count {
                let count = message.withUnsafeBytes {
                    SSL_write(server.ssl, $0.baseAddress! + sentCount, Int32(message.count - sentCount))
                }
                if count > 0 { sentCount += Int(count) }
                client.pump(pieceBytes: 10_007)
            }
            #expect(client.received == message)
        }

        /// A socket that takes a little at a time: every byte arrives, in its order, and what is kept meanwhile
        /// is a record.
        @Test func fullSocketKeepsARecordBack() throws {
            let (client, server) = try ends(bufferBytes: 4 << 10)
            shakeHands(client, server)
            var random = SeededRandom(seed: 8)
            let message = random.bytes(300_000)
            var sentCount = 0
            var blockedCount = 0
            while sentCount < message.count {
                switch client.write(Array(message[sentCount...])) {
                case .bytes(let count):
                    #expect(count <= TLSStream.maximumRecordBytes)
                    sentCount += count
                case .wouldBlock:
                    blockedCount += 1
                    #expect(client.stream.hasUnsent)
                    server.read()
                case let other:
                    Issue.record("\(other)")
                    return
                }
            }
            while client.stream.flush() == .wouldBlock { server.read() }
            server.read()
            #expect(blockedCount > 0)
            #expect(!client.stream.hasUnsent)
            #expect(server.received == message)
        }

        @Test func properEndIsTold() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            SSL_write(server.ssl, "last", 4)
            SSL_shutdown(server.ssl)
            client.pump()
            #expect(client.received == Array("last".utf8))
            #expect(client.end == .endOfStream)
        }

        @Test func ownEndReachesTheServer() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            client.stream.shutDown()
            server.read()
            #expect(SSL_get_shutdown(server.ssl) & SSL_RECEIVED_SHUTDOWN != 0)
        }

        /// The socket tells of an end without a word; of a record that is cut off nothing comes out.
        @Test func partOfARecordIsNothing() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            client.pump()
            SSL_write(server.ssl, Array(repeating: 0x61, count: 1000), 1000)
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(client.socket.descriptor, &bytes, bytes.count, 0)
            #expect(count > 1000)
            client.handIn(Array(bytes[..<(count - 1)]))
            #expect(client.received.isEmpty && client.end == nil)
            client.handIn([bytes[count - 1]])
            #expect(client.received.count == 1000)
        }

        @Test func changedRecordEndsTheConnection() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            client.pump()
            SSL_write(server.ssl, "x", 1)
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(client.socket.descriptor, &bytes, bytes.count, 0)
            bytes[count - 1] ^= 1
            client.handIn(Array(bytes[..<count]))
            #expect(client.received.isEmpty)
            #expect(client.end == .failed("TLS: decryption failed or bad record mac"))
        }

        /// As any server may answer, before and behind the handshake.
        @Test(arguments: SeededRandom.seeds) func anyBytesEndItAndNothingElse(seed: UInt64) throws {
            var random = SeededRandom(seed: seed)
            for round in 0..<40 {
                let (client, server) = try ends()
                if round % 2 == 0 { shakeHands(client, server) }
                for _ in 0..<200 where client.end == nil {
                    var bytes = random.bytes(Int.random(in: 1...400, using: &random))
                    // Records of all kinds, too.
                    if Bool.random(using: &random), bytes.count > 5 {
                        bytes.replaceSubrange(
                            0..<5, with: [random.bytes(1)[0] % 4 + 20, 3, 3, 0, UInt8(bytes.count & 255)])
                    }
                    client.handIn(bytes)
                    if client.isUp { _ = client.write([1, 2, 3]) }
                }
                #expect(client.end != nil, "seed \(seed)")
                #expect(client.received.isEmpty, "seed \(seed)")
            }
        }

        @Test(arguments: [
            ("redis.example", nil), ("redis.example.", nil), ("REDIS.example", nil), ("192.0.2.7", nil),
            ("wrong.example", "hostname mismatch, it is not for wrong.example"),
            ("redis.example.com", "hostname mismatch, it is not for redis.example.com"),
            ("192.0.2.8", "IP address mismatch, it is not for 192.0.2.8"),
            ("2001:db8::7", "IP address mismatch, it is not for 2001:db8::7"),
        ])
        func certificateMustBeForTheHost(host: String, fault: String?) throws {
            let (client, server) = try ends(host: host)
            shakeHands(client, server)
            #expect(client.isUp == (fault == nil))
            #expect(client.end == fault.map { .failed("TLS: certificate: \($0)") })
            let (trusting, other) = try ends(host: host, isVerified: false)
            shakeHands(trusting, other)
            #expect(trusting.isUp)
        }

        /// OpenSSL would check no name.
        @Test(arguments: ["", ".", "\0redis.example", "redis.example\0"]) func hostThatIsNoneIsRefused(
            host: String
        )
            throws
        {
            let (client, server) = try ends(host: host)
            shakeHands(client, server)
            #expect(!client.isUp)
            guard case .failed(let reason) = client.end else {
                return #expect(Bool(false), "\(client.end as Any)")
            }
            #expect(reason.hasPrefix("TLS: no certificate can be for"))
        }

        @Test func protocolsBefore12AreRefused() throws {
            let (client, server) = try ends(oldestOnly: true)
            shakeHands(client, server)
            #expect(!client.isUp)
            guard case .failed(let reason) = client.end else {
                return #expect(Bool(false), "\(client.end as Any)")
            }
            #expect(reason.hasPrefix("TLS: "))
        }

        /// A peer that asks for new keys and takes none.
        @Test func answersThatAreNotTakenHaveALimit() throws {
            let (client, server) = try ends(bufferBytes: 4 << 10)
            shakeHands(client, server)
            let limit = TLSTransfer.failed("the server does not read")
            var roundCount = 0
            while client.stream.flush() != limit, roundCount < TLSStream.maximumUnsentBytes {
                roundCount += 1
                SSL_key_update(server.ssl, SSL_KEY_UPDATE_REQUESTED)
                #expect(SSL_do_handshake(server.ssl) == 1)
                client.pump()
                guard client.end == nil else { break }
            }
            #expect(client.stream.flush() == limit, "after \(roundCount) rounds: \(client.end as Any)")
            #expect(client.write([1]) == limit)
        }

        @Test func failureOfTheSocketIsToldByTheNextWrite() throws {
            let (client, server) = try ends()
            shakeHands(client, server)
            SSL_write(server.ssl, "last words", 10)
            shutdown(server.socket.descriptor, Int32(SHUT_RDWR))
            #expect(client.write([1]) == .failed("Broken pipe"), "and no SIGPIPE")
            client.pump()
            #expect(client.received == Array("last words".utf8))
        }
    }

#endif

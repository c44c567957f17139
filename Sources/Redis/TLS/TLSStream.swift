// One secured connection. Loop-confined.
//
//     socket ── recv ──▶ supply ──▶ OpenSSL ──▶ read           write ──▶ OpenSSL ──▶ send, or `unsent`
#if TLS

    import COpenSSL
    import EventLoop
    import Glibc

    /// Owns an `SSL`, and is what it reads from and writes to.
    ///
    /// What the socket brings is handed in, and OpenSSL takes all of it before `read` has no more, so nothing
    /// waits in it of which the loop does not know. What OpenSSL writes always goes: to the socket, and what
    /// that does not take is kept here, a record or an alert. So no call of OpenSSL ever has to be repeated.
    final class TLSStream {
        /// Far above a record and a handshake's messages; a peer that asks for key after key and reads nothing
        /// comes there.
        static let maximumUnsentBytes = 256 << 10
        /// The most that a record holds.
        static let maximumRecordBytes = 16 << 10

        private let ssl: OpaquePointer
        private let socket: Socket
        private let context: TLSContext
        private let host: String
        /// What has been received and OpenSSL has not yet taken; valid until `read` has no more.
        private var input = UnsafeRawBufferPointer(start: nil, count: 0)
        private var unsent: [UInt8] = []
        /// Why nothing is sent any more.
        private var failure: String?
        private var isUp = false
        private let opened = UnsafeMutableRawBufferPointer.allocate(
            byteCount: TLSStream.maximumRecordBytes, alignment: 16)

        /// - Parameters:
        ///   - socket: connected; it stays its owner's.
        init(_ peer: TLSPeer, socket: Socket) {
            guard let ssl = SSL_new(peer.context.context), let bio = BIO_new(peer.context.method) else {
                preconditionFailure("OpenSSL: out of memory")
            }
            self.ssl = ssl
            self.socket = socket
            context = peer.context
            host = peer.certifiedHost
            // Unretained: the stream frees it.
            BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
            BIO_set_init(bio, 1)
            SSL_set_bio(ssl, bio, bio)
            SSL_set_connect_state(ssl)
            expectHost()
        }

        deinit {
            SSL_free(ssl)
            opened.deallocate()
        }

        private func expectHost() {
            // OpenSSL checks no name at all if the one that it is given is empty, or begins with a zero byte.
            let isName = !host.isEmpty && !host.utf8.contains(0)
            if isName, X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 { return }
            SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            // A server with several certificates chooses by the name that it is told.
            if !isName || SSL_set1_host(ssl, host) != 1 || roomcast_tls_set_server_name(ssl, host) != 1 {
                failure = "TLS: no certificate can be for \"\(host)\""
            }
        }

        /// Hands in what the socket has brought: to be taken by `shakeHands` and `read`, until they block, before
        /// the bytes go.
        func supply(_ bytes: UnsafeRawBufferPointer) {
            input = bytes
        }

        /// Begins the handshake, or goes on with it. `.bytes` once it is complete.
        func shakeHands() -> TLSTransfer {
            if let failure { return .failed(failure) }
            ERR_clear_error()
            let result = SSL_do_handshake(ssl)
            guard result == 1 else { return outcome(of: result) }
            isUp = true
            return .bytes(0)
        }

        /// Opens the next bytes of what was handed in, and calls `body` with them.
        func read(_ body: (UnsafeRawBufferPointer) -> Void) -> TLSTransfer {
            ERR_clear_error()
            let count = SSL_read(ssl, opened.baseAddress, Int32(opened.count))
            guard count > 0 else { return outcome(of: count) }
            body(UnsafeRawBufferPointer(rebasing: opened[..<Int(count)]))
            return .bytes(Int(count))
        }

        /// Sends as much of `bytes` as fits into a record, if the one before has left.
        func write(_ bytes: UnsafeRawBufferPointer) -> TLSTransfer {
            let flushed = flush()
            guard case .bytes = flushed else { return flushed }
            ERR_clear_error()
            let count = SSL_write(
                ssl, bytes.baseAddress, Int32(min(bytes.count, TLSStream.maximumRecordBytes)))
            if let failure { return .failed(failure) }
            return count > 0 ? .bytes(Int(count)) : outcome(of: count)
        }

        /// Whether something waits for the socket to take more.
        var hasUnsent: Bool { !unsent.isEmpty }

        /// Sends what the socket has not taken. `.bytes` when nothing is left.
        func flush() -> TLSTransfer {
            if !unsent.isEmpty, failure == nil {
                unsent.removeFirst(unsent.withUnsafeBytes { send($0) })
            }
            if let failure { return .failed(failure) }
            return unsent.isEmpty ? .bytes(0) : .wouldBlock
        }

        /// Tells the server, if the socket takes it, that nothing more comes.
        func shutDown() {
            guard isUp, unsent.isEmpty else { return }
            ERR_clear_error()
            SSL_shutdown(ssl)
        }

        /// Returns how many bytes the socket has taken.
        private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
            var sentCount = 0
            while sentCount < bytes.count {
                switch socket.write(UnsafeRawBufferPointer(rebasing: bytes[sentCount...])) {
                case .bytes(let count): sentCount += count
                case .wouldBlock, .endOfStream: return sentCount
                case .failed(let code):
                    failure = SystemError.message(of: code)
                    return sentCount
                }
            }
            return sentCount
        }

        // MARK: What OpenSSL calls

        /// What makes a stream the socket of its `SSL`; it lives as long as any of them.
        static func makeMethod() -> OpaquePointer? {
            guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream") else {
                return nil
            }
            BIO_meth_set_read(method) { bio, bytes, count in
                TLSStream.from(bio).give(UnsafeMutableRawBufferPointer(start: bytes, count: Int(count)), bio)
            }
            BIO_meth_set_write(method) { bio, bytes, count in
                TLSStream.from(bio).take(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            }
            BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
            return method
        }

        private static func from(_ bio: OpaquePointer?) -> TLSStream {
            Unmanaged<TLSStream>.fromOpaque(BIO_get_data(bio)).takeUnretainedValue()
        }

        private func give(_ room: UnsafeMutableRawBufferPointer, _ bio: OpaquePointer?) -> Int32 {
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            let count = min(room.count, input.count)
            guard count > 0 else {
                roomcast_bio_wants_read(bio)
                return -1
            }
            room.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[..<count]))
            input = UnsafeRawBufferPointer(rebasing: input[count...])
            return Int32(count)
        }

        /// Takes everything: a failure is told by the next `flush` or `write`, and what the server has said
        /// before can still be read.
        private func take(_ bytes: UnsafeRawBufferPointer) -> Int32 {
            guard failure == nil else { return Int32(bytes.count) }
            let sentCount = unsent.isEmpty ? send(bytes) : 0
            unsent += bytes[sentCount...]
            if unsent.count > TLSStream.maximumUnsentBytes { failure = "the server does not read" }
            return Int32(bytes.count)
        }

        // MARK: What went wrong

        private func outcome(of result: Int32) -> TLSTransfer {
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ: .wouldBlock
            case SSL_ERROR_ZERO_RETURN: .endOfStream
            default: .failed("TLS: \(failureText())")
            }
        }

        private func failureText() -> String {
            let verdict = SSL_get_verify_result(ssl)
            guard !context.settings.isVerified || verdict == X509_V_OK else {
                let text = String(cString: X509_verify_cert_error_string(verdict))
                let isName =
                    verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH
                return "certificate: \(text)" + (isName ? ", it is not for \(host)" : "")
            }
            let hint = TLSStream.hints[ERR_GET_REASON(ERR_peek_error())]
            return TLSStream.errorText() + (hint.map { "; \($0)" } ?? "")
        }

        private static let hints: [Int32: String] = [
            SSL_R_WRONG_VERSION_NUMBER: TLSPeer.portHint,
            SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: "the server wants --redis-cert",
        ]

        /// Words for the first error that this thread's OpenSSL has met.
        static func errorText() -> String {
            let code = ERR_peek_error()
            if let text = ERR_reason_error_string(code) { return String(cString: text) }
            return code == 0 ? "connection broken" : "error \(String(code, radix: 16))"
        }
    }

#else

    import EventLoop

    /// What this build has in place of TLS: none of these is ever made.
    final class TLSStream {
        init(_: TLSPeer, socket _: Socket) { preconditionFailure("this build secures no connection") }

        var hasUnsent: Bool { false }
        func supply(_: UnsafeRawBufferPointer) {}
        func shakeHands() -> TLSTransfer { preconditionFailure() }
        func read(_: (UnsafeRawBufferPointer) -> Void) -> TLSTransfer { preconditionFailure() }
        func write(_: UnsafeRawBufferPointer) -> TLSTransfer { preconditionFailure() }
        func flush() -> TLSTransfer { preconditionFailure() }
        func shutDown() {}
    }

#endif

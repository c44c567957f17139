// The server of the stream under test: OpenSSL's own, with numbers that an input repeats. Single thread.

import COpenSSL
import Glibc

/// A server that says only what it is told to say; its bytes come and go by the caller's hands.
final class TLSServer {
    private nonisolated(unsafe) static let newest = makeContext(maximumProtocol: TLS1_3_VERSION)
    private nonisolated(unsafe) static let older = makeContext(maximumProtocol: TLS1_2_VERSION)

    private let ssl: OpaquePointer
    /// Freed with `ssl`.
    private let incoming = BIO_new(BIO_s_mem())
    private let outgoing = BIO_new(BIO_s_mem())
    private(set) var written: [UInt8] = []
    private(set) var received: [UInt8] = []
    private(set) var hasShutDown = false
    private(set) var hasRenegotiated = false

    init(isOld: Bool, asksForCertificate: Bool) {
        ssl = SSL_new(isOld ? TLSServer.older : TLSServer.newest)
        SSL_set_bio(ssl, incoming, outgoing)
        SSL_set_accept_state(ssl)
        if asksForCertificate { SSL_set_verify(ssl, SSL_VERIFY_PEER, nil) }
    }

    deinit { SSL_free(ssl) }

    private static func makeContext(maximumProtocol: Int32) -> OpaquePointer? {
        let context = SSL_CTX_new(TLS_server_method())
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(maximumProtocol), nil)
        // Nothing of one input is left for the next one.
        SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        let isLoaded =
            SSL_CTX_use_certificate_chain_file(context, TLSTarget.certificatePath("redis.crt")) == 1
            && SSL_CTX_use_PrivateKey_file(
                context, TLSTarget.certificatePath("redis.key"), SSL_FILETYPE_PEM) == 1
        require(isLoaded, "the server has its certificate")
        return context
    }

    /// Whether the handshake has succeeded here.
    var isUp: Bool { SSL_is_init_finished(ssl) == 1 }

    /// Takes what the client has sent.
    func take(_ bytes: [UInt8]) {
        BIO_write(incoming, bytes, Int32(bytes.count))
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            ERR_clear_error()
            let count = SSL_read(ssl, &buffer, Int32(buffer.count))
            guard count > 0 else { return }
            received += buffer[..<Int(count)]
        }
    }

    func write(_ bytes: [UInt8]) {
        guard isUp, !hasShutDown, SSL_write(ssl, bytes, Int32(bytes.count)) > 0 else { return }
        written += bytes
    }

    func shutDown() {
        guard isUp, !hasShutDown else { return }
        hasShutDown = true
        SSL_shutdown(ssl)
    }

    /// Asks for new keys (TLS 1.3) or for another handshake (1.2), which the client refuses.
    func changeKeys(count: Int, asksForTheirs: Bool) {
        guard isUp, !hasShutDown else { return }
        for _ in 0..<count {
            if SSL_version(ssl) == TLS1_3_VERSION {
                SSL_key_update(ssl, asksForTheirs ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED)
            } else {
                hasRenegotiated = true
                SSL_renegotiate(ssl)
            }
            SSL_do_handshake(ssl)
        }
    }

    /// What it has to send.
    func takeOutput() -> [UInt8] {
        let count = Int(BIO_ctrl(outgoing, BIO_CTRL_PENDING, 0, nil))
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            initializedCount = max(0, Int(BIO_read(outgoing, buffer.baseAddress, Int32(count))))
        }
    }
}

/// OpenSSL's random numbers, which are the same for the same input.
enum OpenSSLRandom {
    private nonisolated(unsafe) static var random = SeededRandom(seed: 0)

    private nonisolated(unsafe) static let method: UnsafeMutablePointer<RAND_METHOD> = {
        let method = UnsafeMutablePointer<RAND_METHOD>.allocate(capacity: 1)
        let fill: @convention(c) (UnsafeMutablePointer<UInt8>?, Int32) -> Int32 = { bytes, count in
            for index in 0..<Int(count) { bytes?[index] = UInt8.random(in: 0...255, using: &random) }
            return 1
        }
        method.initialize(
            to: RAND_METHOD(
                seed: nil, bytes: fill, cleanup: nil, add: nil, pseudorand: fill, status: { 1 }))
        return method
    }()

    static func restart(seed: UInt64) {
        random = SeededRandom(seed: seed)
        RAND_set_rand_method(method)
    }
}

// What all secured connections of a process have in common: authorities, certificate and key. Any thread.
#if TLS

    import COpenSSL
    import Glibc

    /// Owns an `SSL_CTX`, made once.
    ///
    /// Safe because OpenSSL counts its references atomically, and nothing changes it after `init`.
    package final class TLSContext: @unchecked Sendable {
        /// Whether this build can secure connections.
        package static let isBuilt = true

        package let settings: TLSSettings
        let context: OpaquePointer
        /// Moves the bytes of a `TLSStream`.
        let method: OpaquePointer

        /// Reads the files.
        ///
        /// - Throws: `TLSFailure`, with the path.
        package init(_ settings: TLSSettings) throws(TLSFailure) {
            // At the end of the process OpenSSL would free what threads still use.
            OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
            guard let context = SSL_CTX_new(TLS_client_method()), let method = TLSStream.makeMethod() else {
                preconditionFailure("OpenSSL: out of memory")
            }
            self.settings = settings
            self.context = context
            self.method = method
            // The system's configuration may ask for more.
            if SSL_CTX_ctrl(context, SSL_CTRL_GET_MIN_PROTO_VERSION, 0, nil) < TLS1_2_VERSION {
                SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
            }
            roomcast_tls_forbid_renegotiation(context)
            // OpenSSL would ask for the passphrase of a key on the terminal.
            SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in -1 }
            SSL_CTX_set_verify(context, settings.isVerified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
            try loadAuthorities()
            try loadCertificate()
        }

        deinit {
            SSL_CTX_free(context)
            BIO_meth_free(method)
        }

        private func loadAuthorities() throws(TLSFailure) {
            guard let path = settings.authorityPath else {
                SSL_CTX_set_default_verify_paths(context)
                return
            }
            try load(path, "no certificate in PEM form") {
                SSL_CTX_load_verify_locations(context, path, nil)
            }
        }

        private func loadCertificate() throws(TLSFailure) {
            guard let path = settings.certificatePath else { return }
            try load(path, "no certificate in PEM form") {
                SSL_CTX_use_certificate_chain_file(context, path)
            }
            let keyPath = settings.keyPath ?? path
            try load(keyPath, "no key in PEM form without a passphrase, or not the key of \(path)") {
                SSL_CTX_use_PrivateKey_file(context, keyPath, SSL_FILETYPE_PEM)
            }
        }

        /// - Parameter fault: what is wrong with a file that can be read and cannot be used.
        private func load(_ path: String, _ fault: String, _ body: () -> Int32) throws(TLSFailure) {
            if let code = TLSContext.readError(path) {
                throw TLSFailure(description: "cannot read \(path): \(String(cString: strerror(code)))")
            }
            ERR_clear_error()
            guard body() == 1 else {
                throw TLSFailure(description: "\(path): \(fault) (\(TLSStream.errorText()))")
            }
        }

        /// Why a file cannot be read; OpenSSL has no words for that.
        private static func readError(_ path: String) -> Int32? {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return errno }
            defer { close(descriptor) }
            var byte: UInt8 = 0
            return read(descriptor, &byte, 1) < 0 ? errno : nil
        }
    }

    extension TLSContext: Equatable {
        package static func == (left: TLSContext, right: TLSContext) -> Bool { left === right }
    }

#else

    /// What this build has in place of TLS: none of these is ever made.
    package final class TLSContext: Sendable, Equatable {
        /// Whether this build can secure connections.
        package static let isBuilt = false

        package let settings: TLSSettings

        package init(_: TLSSettings) throws(TLSFailure) {
            throw TLSFailure(description: "this program was built without the trait TLS")
        }

        package static func == (left: TLSContext, right: TLSContext) -> Bool { left === right }
    }

#endif

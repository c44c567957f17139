// features.h first: see CLibevent/shim.h.
#include <features.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// What OpenSSL has as macros with a cast or an argument, which Swift does not see.

static inline void roomcast_tls_forbid_renegotiation(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
}

static inline int roomcast_tls_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}

static inline void roomcast_bio_wants_read(BIO *bio) { BIO_set_retry_read(bio); }

// What the target of TLS needs beyond Sources/COpenSSL.
#include <openssl/rand.h>

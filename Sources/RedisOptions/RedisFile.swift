// What the options that name a file for Redis have in common: a password, authorities, a certificate, a key.

import Options

/// A file that is read for a connection to Redis.
package enum RedisFile {
    /// Takes its path.
    package static let path = TextConverter(expected: "a path") {
        $0.isEmpty || $0.utf8.contains { $0 < 0x20 || $0 == 0x7F } ? nil : $0
    }
}

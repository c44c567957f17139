// The options by which programs secure their connections to Redis, the same in each of them.

import Options
import Redis

/// Declares the options, and secures the URL as they say.
package enum RedisTLSOptions {
    /// For a URL that trusts anyone.
    package static let warning = "warning: the certificate of Redis is not checked (--redis-tls-verify off)"

    private static let files = ["redis-ca", "redis-cert", "redis-key"]

    /// - Parameter section: where the program's help lists them.
    package static func options(section: String) -> [Option] {
        [
            // The system's: nearly all rented servers have certificates of public authorities.
            Option(
                "redis-ca", .value(placeholder: "PATH"), section: section,
                default: .described("the system's authorities"),
                help: "PEM file of the authorities that the certificate of Redis may come from."),
            // None: few servers ask for one.
            Option(
                "redis-cert", .value(placeholder: "PATH"), section: section,
                help: "PEM file of the certificate to show to Redis, if it asks for one."),
            Option(
                "redis-key", .value(placeholder: "PATH"), section: section,
                default: .described("the file of --redis-cert"),
                help: "PEM file of that certificate's key, without a passphrase."),
            // The host: through a tunnel, or where sentinels name addresses, the certificate has another name.
            Option(
                "redis-tls-name", .value(placeholder: "NAME"), section: section,
                default: .described("the host that is connected to"),
                help: "Name or address that the certificate of Redis must have."),
            // On: encryption with whoever answers keeps no one from answering in place of Redis.
            Option(
                "redis-tls-verify", .value(placeholder: "on|off"), section: section, default: .text("on"),
                help: "Check the certificate of Redis. With off, programs warn at every start."),
        ]
    }

    /// Reads the files, if the URL asks for TLS.
    ///
    /// - Throws: `UsageError`; with exit status 1 for a file that cannot be used.
    package static func secure(_ url: RedisURL, by values: OptionValues) throws(UsageError) -> RedisURL {
        try secure([url], by: values)[0]
    }

    /// The same for several URLs, of which some may ask for TLS.
    package static func secure(_ urls: [RedisURL], by values: OptionValues) throws(UsageError) -> [RedisURL]
    {
        let certificatePath = try values.optional("redis-cert", RedisFile.path)
        let keyPath = try values.optional("redis-key", RedisFile.path)
        let settings = TLSSettings(
            authorityPath: try values.optional("redis-ca", RedisFile.path), certificatePath: certificatePath,
            keyPath: keyPath, serverName: try values.optional("redis-tls-name", nameConverter),
            isVerified: try values.value("redis-tls-verify", SwitchConverter()))
        guard urls.contains(where: \.isTLS) else {
            for name in files + ["redis-tls-name", "redis-tls-verify"] where values.origin(of: name) != nil {
                throw UsageError(
                    "\(values.originText(name)): expected only with a URL that begins with rediss://, "
                        + "sentinels:// or clusters://")
            }
            return urls
        }
        guard keyPath == nil || certificatePath != nil else {
            throw UsageError("\(values.originText("redis-key")): expected only with --redis-cert")
        }
        do throws(TLSFailure) {
            let context = try TLSContext(settings)
            return urls.map { $0.isTLS ? $0.secured(by: context) : $0 }
        } catch {
            throw UsageError("\(error)", exitStatus: 1)
        }
    }

    /// 253 is the longest name that there is.
    private static let nameConverter = TextConverter(expected: "a host name or an address") { text in
        (1...253).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            && text != "."
            ? text : nil
    }
}

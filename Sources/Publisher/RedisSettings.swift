// Where Redis is and how names begin there: what each of the publisher's commands asks for. Pure, but for
// certificates, which are read here.

import RedisSchema
import Options
import Redis
import RedisOptions

/// The checked options of the section "Redis".
struct RedisSettings: Sendable {
    /// With the passwords of the environment, of the server in place of its own, when they are set.
    let url: RedisURL
    /// In front of every channel and key.
    let prefix: String
    /// Longest wait for the connection, and for an answer.
    let timeout: Duration

    static let options =
        [urlOption(.value(placeholder: "URL"), help: "\(RedisURL.expectedForm).")] + otherOptions

    /// For a command that does the same at several servers.
    static let optionsOfSeveral =
        [
            urlOption(
                .repeatable(placeholder: "URL"),
                help: "\(RedisURL.expectedForm). Given several times, notices go to each of them.")
        ] + otherOptions

    // Where a Redis that was just installed listens.
    private static func urlOption(_ kind: Option.Kind, help: String) -> Option {
        Option(
            "redis", kind, section: "Redis", default: .text("redis://127.0.0.1:6379"),
            fallbackVariables: ["REDIS_URL"], isSecret: true, help: help)
    }

    private static let otherOptions = plainOptions + RedisTLSOptions.options(section: "Redis")

    private static let plainOptions = [
        // Out of the arguments, which every user of the machine can read.
        Option(
            "redis-password", .value(placeholder: "TEXT"), section: "Redis",
            fallbackVariables: ["REDIS_PASSWORD"],
            isSecret: true, isEnvironmentOnly: true, help: "Password, in place of the URL's."),
        // None: a password that never changes is as well in the environment.
        Option(
            "redis-password-file", .value(placeholder: "FILE"), section: "Redis",
            help: "File with the password, read at every login; replaces the others."),
        // Out of the arguments, as the other one. Sentinels have a password of their own, or none.
        Option(
            "sentinel-password", .value(placeholder: "TEXT"), section: "Redis", isSecret: true,
            isEnvironmentOnly: true, help: "Password of the sentinels themselves, if they have one."),
        // Empty: channels are room:<id>, as documented.
        Option(
            "prefix", .value(placeholder: "TEXT"), section: "Redis", default: .text(""),
            help: "What stands in front of every channel and key; the same as the gateways' --prefix."),
        // Outlives a failover's hiccup, and a script does not hang.
        Option(
            "timeout", .value(placeholder: "TIME"), section: "Redis", default: .text("5s"),
            help: "Longest wait for the connection and for an answer, 100ms to 5m."),
    ]

    /// Checks the values of `options`.
    ///
    /// - Throws: `UsageError`, one line that names the option.
    init(_ values: OptionValues) throws(UsageError) {
        let url = try values.value("redis", Self.urlConverter)
        try self.init(values, url: try Self.secured([url], by: values)[0])
    }

    /// Checks the values of `optionsOfSeveral`: one for each server, no server twice.
    static func all(_ values: OptionValues) throws(UsageError) -> [RedisSettings] {
        var settings: [RedisSettings] = []
        for url in try secured(try values.all("redis", urlConverter), by: values) {
            guard !settings.contains(where: { $0.url.destination == url.destination }) else {
                throw UsageError("--redis: \(url.destination) is given more than once")
            }
            settings.append(try RedisSettings(values, url: url))
        }
        return settings
    }

    private init(_ values: OptionValues, url: RedisURL) throws(UsageError) {
        let password = TextConverter(expected: "") { $0 }
        self.url = url.overriding(password: try values.optional("redis-password", password))
            .withSentinelPassword(try values.optional("sentinel-password", password))
            .withPasswordFile(
                try values.optional("redis-password-file", RedisFile.path))
        prefix = try values.value(
            "prefix", TextConverter(expected: Channels.prefixForm) { Channels.isPrefix($0) ? $0 : nil })
        try RedisPrefix.check(prefix, with: [url], by: values)
        timeout = try values.value("timeout", DurationConverter(.milliseconds(100) ... .seconds(300)))
    }

    private static func secured(_ urls: [RedisURL], by values: OptionValues) throws(UsageError) -> [RedisURL]
    {
        let secured = try RedisTLSOptions.secure(urls, by: values)
        if secured.contains(where: \.trustsAnyone) {
            Console.complain(RedisTLSOptions.warning, of: PublisherProgram.name)
        }
        return secured
    }

    /// The longest wait for an answer. `--replicas` waits for as long as the others do for their answer, and the
    /// answer itself must come after that.
    func answerTimeout(_ durability: Durability?) -> Duration {
        durability?.replicaCount == nil ? timeout : timeout * 2
    }

    private static let urlConverter = CheckedConverter(expected: RedisURL.expectedForm) {
        text throws(ValueFault) in
        do throws(RedisURLError) { return try RedisURL(text) } catch { throw ValueFault(error.reason) }
    }
}

import Testing

@testable import Redis

extension RedisURL {
    /// Where the server is; nil when sentinels have to be asked.
    fileprivate var address: Address? { if case .server(let address) = route { address } else { nil } }
}

@Suite struct RedisURLTests {
    @Test func hostPortAndDatabase() throws {
        let plain = try RedisURL("redis://localhost")
        #expect(plain.address == .tcp(host: "localhost", port: 6379))
        #expect(plain.user == nil && plain.password == nil && plain.database == 0)
        #expect(plain.authArguments == nil)
        let full = try RedisURL("redis://redis.example:7000/15")
        #expect(full.address == .tcp(host: "redis.example", port: 7000))
        #expect(full.database == 15)
        #expect(try RedisURL("REDIS://h/").database == 0)
        #expect(try RedisURL("redis://[::1]:7000").address == .tcp(host: "::1", port: 7000))
        #expect(
            try RedisURL("redis://redis.svc.cluster.local.:1").address
                == .tcp(host: "redis.svc.cluster.local.", port: 1))
        #expect(try RedisURL("redis://[fe80::1%eth0]").address == .tcp(host: "fe80::1%eth0", port: 6379))
    }

    @Test func credentialsAreDecoded() throws {
        let url = try RedisURL("redis://us%40er:p%3Aa%2Fss%25@host")
        #expect(url.user == "us@er")
        #expect(url.password == "p:a/ss%")
        #expect(url.authArguments == ["us@er", "p:a/ss%"])
        let passwordOnly = try RedisURL("redis://:secret@host:1")
        #expect(passwordOnly.user == nil)
        #expect(passwordOnly.authArguments == ["secret"])
        #expect(try RedisURL("redis://:a@b:c@host").password == "a@b:c")
        #expect(try RedisURL("redis://user@host").authArguments == ["user", ""])
    }

    @Test func unixSockets() throws {
        #expect(try RedisURL("unix:///run/redis.sock").address == .unix(path: "/run/redis.sock"))
        #expect(try RedisURL("unix:///run/re%20dis.sock?db=3").address == .unix(path: "/run/re dis.sock"))
        #expect(try RedisURL("unix:///run/redis.sock?db=3").database == 3)
        let longest = "/" + String(repeating: "a", count: 102)
        #expect(try RedisURL("unix://" + longest).address == .unix(path: longest))
        #expect(throws: RedisURLError.path) { try RedisURL("unix://" + longest + "a") }
    }

    @Test func sentinelsNameTheirMaster() throws {
        let url = try RedisURL("sentinel://us%40er:pw@a:1,[::1],b,a:1/my%2Dmaster?db=3")
        guard case .master(let sentinels) = url.route else {
            Issue.record("\(url.route)")
            return
        }
        #expect(
            sentinels.addresses == [
                .tcp(host: "a", port: 1), .tcp(host: "::1", port: 26379), .tcp(host: "b", port: 26379),
            ])
        #expect(sentinels.masterName == "my-master")
        #expect(url.authArguments == ["us@er", "pw"])
        #expect(url.database == 3)
        #expect(url.address == nil)
        #expect(sentinels.authArguments == nil)
        #expect(try RedisURL("sentinel://h/m").database == 0)
    }

    @Test func sentinelsHaveAPasswordOfTheirOwn() throws {
        let url = try RedisURL("sentinel://:data@h/m").withSentinelPassword("hunter2")
        guard case .master(let sentinels) = url.route else {
            Issue.record("\(url.route)")
            return
        }
        #expect(sentinels.authArguments == ["hunter2"])
        #expect(url.authArguments == ["data"])
        var dumped = ""
        dump(url, to: &dumped)
        #expect(!dumped.contains("hunter2") && !"\(url)".contains("hunter2"))
        #expect(url.withSentinelPassword("") == url)
        let plain = try RedisURL("redis://h")
        #expect(plain.withSentinelPassword("hunter2") == plain)
    }

    @Test(arguments: [
        ("", RedisURLError.scheme), ("localhost:6379", .scheme), ("unixs:///a", .scheme),
        (" redis://h", .blank), ("redis://h\n", .blank), ("redis://h/1 ", .blank),
        ("redis:host", .scheme),
        ("redis://", .host), ("redis://:6379", .host), ("redis://a b", .host), ("redis://[::1", .host),
        ("redis://[host]", .host), ("redis://[fe80::1%]", .host), ("redis://10.0.0", .host),
        ("redis://[::1]x", .host),
        ("redis://:pw@", .host),
        ("redis://h:", .port), ("redis://h:0", .port), ("redis://h:65536", .port), ("redis://h:6x", .port),
        ("redis://h:1:2", .port), ("redis://h/a", .database), ("redis://h/-1", .database),
        ("redis://h/2147483647", .database), ("redis://h/1/2", .database), ("redis://h/?db=1", .database),
        ("redis://h?db=1", .query), ("redis://:pw@h:6379?x", .query), ("redis://h#1", .query),
        ("redis://:p/w@h", .slash), ("redis://u:p/w#?@h:1/2", .slash), ("redis://:pw@h/1@", .slash),
        ("sentinel://:p/w@h/m", .slash), ("redis://:100%@h", .credentials),
        ("redis://:%4@h", .credentials), ("redis://:%zz@h", .credentials), ("redis://:%ff@h", .credentials),
        ("unix://", .path), ("unix://relative", .path), ("unix:///a%00b", .path),
        ("unix:///a?db=", .database),
        ("sentinel://", .host), ("sentinel:///m", .host), ("sentinel://h,/m", .host),
        ("sentinel://h:x/m", .port),
        ("sentinel://h", .master), ("sentinel://h/", .master), ("sentinel://h/a%20b", .master),
        ("sentinel://h/?db=1", .master), ("sentinel://h/m?db=x", .database), ("sentinel://h/m?x", .database),
        ("sentinel://:%4@h/m", .credentials),
        ("unix:///a?x=1", .database), ("unix:///a?db=1&x=2", .database),
    ])
    func wrongFormsAreTold(_ text: String, _ expected: RedisURLError) {
        #expect(throws: expected) { try RedisURL(text) }
    }

    /// Where a character in a password need not be escaped it is taken as it stands; where it must be, the
    /// error says how.
    @Test func specialCharactersOfPasswordsAreTakenOrExplained() throws {
        #expect(try RedisURL("redis://:a@b:c?d#e@h:1/2").password == "a@b:c?d#e")
        #expect(try RedisURL("redis://:a%2Fb%3F%23%40%25@h").password == "a/b?#@%")
        #expect(RedisURLError.slash.reason.contains("/ as %2F"))
        #expect(RedisURLError.credentials.reason.contains("% as %25"))
    }

    @Test func securedFormsAreTheOthersWithAnS() throws {
        guard TLSContext.isBuilt else {
            for text in ["rediss://:hunter2@host", "Sentinels://h/m"] {
                #expect(throws: RedisURLError.tls) { try RedisURL(text) }
            }
            #expect(RedisURLError.tls.reason.contains("trait TLS"))
            return
        }
        let url = try RedisURL("rediss://u:hunter2@h/3")
        #expect(url.isTLS && url.address == .tcp(host: "h", port: 6379) && url.database == 3)
        #expect(url.description == "rediss://u:***@h:6379/3")
        let secured = try url.secured(by: TLSContext(TLSSettings(isVerified: false)))
        #expect(secured.tls != nil && secured.trustsAnyone && secured != url)
        #expect(secured.overriding(password: "new").tls == secured.tls)
        #expect(try RedisURL("REDISS://h").description == "rediss://h:6379")
        #expect(throws: RedisURLError.port) { try RedisURL("rediss://h:x") }

        let behind = try RedisURL("sentinels://:pw@a,b:1/m?db=2")
        #expect(behind.description == "sentinels://:***@a:26379,b:1/m?db=2")
        let context = try TLSContext(TLSSettings())
        guard case .master(let sentinels) = behind.secured(by: context).withSentinelPassword("x").route
        else {
            Issue.record("it is behind sentinels")
            return
        }
        #expect(sentinels.tls == context && sentinels.authArguments == ["x"])

        let plain = try RedisURL("sentinel://a/m")
        #expect(!plain.isTLS && plain.tls == nil && !plain.trustsAnyone)
    }

    @Test func userAloneMayBeAPasswordAndIsNotPrinted() throws {
        #expect(try RedisURL("redis://hunter2@h").description == "redis://***@h:6379")
        #expect(
            try RedisURL("redis://user@h").overriding(password: "p").description == "redis://user:***@h:6379"
        )
    }

    @Test func passwordGivenApartWins() throws {
        let url = try RedisURL("redis://user:old@host")
        #expect(url.overriding(password: "new").authArguments == ["user", "new"])
        #expect(url.overriding(password: nil) == url)
        #expect(url.overriding(password: "") == url)
        #expect(try RedisURL("unix:///s").overriding(password: "new").authArguments == ["new"])
    }

    @Test func passwordsAreNeverPrinted() throws {
        let url = try RedisURL("redis://user:hunter2@[::1]:7000/2")
        var dumped = ""
        dump(["x": url], to: &dumped)
        for shown in ["\(url)", String(reflecting: url), "\([url])", "\(url as RedisURL?)", dumped] {
            #expect(shown.contains("redis://user:***@[::1]:7000/2"), "\(shown)")
            #expect(!shown.contains("hunter2"))
        }
        let error = #expect(throws: RedisURLError.self) { try RedisURL("redis://:hunter2@host:port") }
        #expect(error.map { "\($0)" }?.contains("hunter2") == false)
        #expect(error.map { "\($0)" }?.contains(RedisURL.expectedForm) == true)
    }

    @Test func descriptionsParseAgain() throws {
        for text in [
            "redis://h:1/2", "redis://[::1]:6379", "unix:///a?db=2", "unix:///a",
            "sentinel://a:1,[::1]:26379/m?db=2",
        ] {
            #expect(try RedisURL(text).description == text)
        }
    }
}

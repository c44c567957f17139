import EventLoop
import Glibc
import TestSupport
import Testing

@testable import Redis

/// Real servers with TLS: that all works as it does without, and that nothing is trusted by mistake.
@Suite(.serialized, .enabled("the build has TLS") { TLSContext.isBuilt })
struct TLSConnectionTests {
    private static let certificates = Result { try Certificates() }
    private static let others = Result { try Certificates() }

    private func server(password: String? = nil, clientCertificates: Bool = false) throws -> RedisServer {
        try RedisServer(
            password: password, certificates: Self.certificates.get(), asksForCertificate: clientCertificates
        )
    }

    private func settings(
        authority: String? = nil, certificate: String? = nil, key: String? = nil, name: String? = nil,
        isVerified: Bool = true
    ) throws -> TLSSettings {
        TLSSettings(
            authorityPath: try authority ?? Self.certificates.get().path("ca.crt"),
            certificatePath: certificate, keyPath: key, serverName: name, isVerified: isVerified)
    }

    private func ping(_ url: RedisURL, timeout: Duration = .seconds(10)) throws -> [Reply] {
        try RedisSession(to: url, timeout: timeout, loop: EventLoop()).replies(to: [[Array("PING".utf8)]])
    }

    /// Why there is no session.
    private func failure(_ url: RedisURL, timeout: Duration = .seconds(10)) throws -> String {
        do {
            let replies = try ping(url, timeout: timeout)
            Issue.record("there is a session: \(replies)")
            return ""
        } catch let error as RedisSessionError {
            #expect(!"\(error)".contains("hunter2"))
            return "\(error)"
        }
    }

    @Test func commandsAndRepliesOfAnyBytesPass() throws {
        let server = try server(password: "hunter2")
        let session = try RedisSession(
            to: server.securedURL(by: settings()), timeout: .seconds(10), loop: EventLoop())
        var random = SeededRandom(seed: 3)
        let value = random.bytes(1 << 20)
        let replies = try session.replies(
            to: [[Array("SET".utf8), [0, 255], value], [Array("GET".utf8), [0, 255]]])
        #expect(replies == [.bytes(Array("OK".utf8)), .bytes(value)])
        var batch = RedisBatch()
        for _ in 0..<10_000 { batch.appendPublish([1, 2, 3], to: [4]) }
        var numberCount = 0
        session.send(batch) { numberCount += $0.count ?? 0 }
        try session.wait { numberCount == 10_000 }
    }

    @Test func wrongPasswordIsRefusedAndNotShown() throws {
        let server = try server(password: "right")
        let url = try server.securedURL(by: settings()).overriding(password: "hunter2")
        #expect(try failure(url).hasPrefix("Redis refused AUTH: WRONGPASS"))
    }

    @Test func nameAndAuthorityAreChecked() throws {
        let server = try server()
        #expect(try ping(server.securedURL(by: settings())) == [.bytes(Array("PONG".utf8))])
        #expect(try ping(server.securedURL(by: settings(name: "localhost"))).count == 1)
        let otherAuthority = try Self.others.get().path("ca.crt")
        for (settings, fault) in [
            (
                try settings(name: "redis.example"),
                "certificate: hostname mismatch, it is not for redis.example"
            ),
            (try settings(name: "::1"), "certificate: IP address mismatch, it is not for ::1"),
            (
                try settings(authority: otherAuthority),
                "certificate: self-signed certificate in certificate chain"
            ),
            (TLSSettings(), "certificate: self-signed certificate in certificate chain"),
        ] {
            let url = try server.securedURL(by: settings)
            #expect(try failure(url) == "cannot reach Redis at \(url): TLS: \(fault)")
        }
        let unchecked = try settings(authority: otherAuthority, name: "redis.example", isVerified: false)
        #expect(try ping(server.securedURL(by: unchecked)).count == 1)
    }

    @Test func expiredCertificateIsRefused() throws {
        let expired = try Certificates(days: -1)
        let server = try RedisServer(certificates: expired)
        let url = try server.securedURL(by: settings(authority: expired.path("ca.crt")))
        #expect(try failure(url).hasSuffix(": TLS: certificate: certificate has expired"))
    }

    /// Under TLS 1.3 the server refuses behind the handshake, which has succeeded by then.
    @Test func certificateOfTheClientIsShown() throws {
        let server = try server(clientCertificates: true)
        let certificates = try Self.certificates.get()
        let url = try server.securedURL(by: settings())
        #expect(
            try failure(url).hasSuffix(
                "TLS: tlsv13 alert certificate required; the server wants --redis-cert"))
        let shown = try settings(
            certificate: certificates.path("client.crt"), key: certificates.path("client.key"))
        #expect(try ping(server.securedURL(by: shown)).count == 1)
        let others = try Self.others.get()
        let foreign = try settings(certificate: others.path("client.crt"), key: others.path("client.key"))
        #expect(try failure(server.securedURL(by: foreign)).contains("TLS: tlsv1 alert unknown ca"))
    }

    @Test func filesThatCannotBeUsedAreNamed() throws {
        let certificates = try Self.certificates.get()
        let (authority, certificate) = (certificates.path("ca.crt"), certificates.path("client.crt"))
        for (settings, fault) in [
            (
                TLSSettings(authorityPath: "/nonexistent/ca"),
                "cannot read /nonexistent/ca: No such file or directory"
            ),
            (TLSSettings(authorityPath: "/tmp"), "cannot read /tmp: Is a directory"),
            (TLSSettings(authorityPath: "/dev/null"), "/dev/null: no certificate in PEM form"),
            (
                TLSSettings(authorityPath: authority, certificatePath: "/nonexistent/c"),
                "cannot read /nonexistent/c: No such file or directory"
            ),
            (TLSSettings(certificatePath: certificate), "\(certificate): no key in PEM form"),
            (
                TLSSettings(certificatePath: certificate, keyPath: certificates.path("redis.key")),
                "\(certificates.path("redis.key")): no key in PEM form without a passphrase, or not the key of"
            ),
        ] {
            let error = #expect(throws: TLSFailure.self) { try TLSContext(settings) }
            #expect(error?.description.hasPrefix(fault) == true, "\(error as Any)")
        }
    }

    // MARK: Ports that are not what they should be

    @Test func plainServerIsNamed() throws {
        let server = try server()
        let url = try RedisURL("rediss://127.0.0.1:\(server.port)").secured(by: TLSContext(settings()))
        #expect(try failure(url, timeout: .seconds(2)).hasSuffix("; does the port speak TLS?"))
    }

    @Test func securedServerIsNamedToPlainClients() throws {
        let server = try server()
        let url = try RedisURL("redis://:hunter2@127.0.0.1:\(server.securedPort)")
        #expect(try failure(url).contains(" before any answer; does the port expect TLS (rediss://)?"))
    }

    @Test func silentServerIsGivenUp() throws {
        let server = try FakeRedis { _ = $0.awaitEnd() }
        let url = try RedisURL("rediss://127.0.0.1:\(server.port)").secured(by: TLSContext(settings()))
        #expect(
            try failure(url, timeout: .milliseconds(300))
                == "cannot reach Redis at \(url): no TLS handshake within 300 ms; does the port speak TLS?")
    }

    @Test func nothingIsSaidInTheClearBeforeTheHandshake() throws {
        let heard = Gate()
        let server = try FakeRedis { connection in
            connection.end()
            heard.open()
        }
        let url = try RedisURL("rediss://:hunter2@127.0.0.1:\(server.port)").secured(
            by: TLSContext(settings()))
        #expect(
            try failure(url)
                == "cannot reach Redis at \(url): TLS: Server closed the connection in the handshake; "
                + "does the port speak TLS?")
        try heard.wait(for: "the client has ended")
    }

    // MARK: Losses

    @Test func connectionOutlivesKillsAndSilence() throws {
        let server = try server(password: "hunter2")
        let scenario = try Scenario()
        let connection = RedisConnection(
            url: try server.securedURL(by: settings()), clientName: "rig", timeout: .seconds(5),
            silenceTimeout: .seconds(1), loop: scenario.loop)
        var (upCount, reasons) = (0, [String]())
        connection.onUp = { _ in upCount += 1 }
        connection.onDown = { reasons.append($0) }
        scenario.step("up", until: { upCount == 1 }) { connection.start() }
        scenario.step("up after a kill of the connection", until: { upCount == 2 }) {
            try server.command("CLIENT", "KILL", "TYPE", "normal")
        }
        scenario.step("the silence is noticed", until: { reasons.count >= 2 }) { server.freeze() }
        scenario.step("up after the silence", until: { upCount == 3 }) {
            #expect(reasons.count == 2 && reasons[0] == "Server closed the connection")
            #expect(reasons[1].hasPrefix("no answer for "), "\(reasons)")
            reasons = []
            server.thaw()
        }
        scenario.step("the death is noticed", until: { reasons.contains("Connection refused") }) {
            server.stop()
        }
        scenario.step("up after a restart", until: { upCount == 4 }) { try server.start() }
        try scenario.run()
        connection.stop()
    }

    @Test func twentyThousandChannelsAndALargeMessage() throws {
        let server = try server()
        let scenario = try Scenario()
        let subscriber = RedisSubscriber(
            url: try server.securedURL(by: settings()), clientName: "rig", anchor: [UInt8]("anchor"),
            silenceTimeout: .seconds(60), loop: scenario.loop)
        var (completeCount, reasons, messages) = (0, [String](), [[UInt8]]())
        subscriber.onAllSubscribed = { completeCount += 1 }
        subscriber.onDown = { reasons.append($0) }
        subscriber.onMessage = { messages.append(Array($1)) }
        var random = SeededRandom(seed: 4)
        let payload = random.bytes(1 << 20)
        for index in 0..<20_000 { subscriber.subscribe([UInt8]("room:\(index)")) }
        scenario.step("all are subscribed", until: { completeCount == 1 }) { subscriber.start() }
        scenario.step("the message comes", until: { messages.count == 1 }) {
            let command = [[UInt8]("PUBLISH"), [UInt8]("room:19999"), payload]
            let reply = try server.command(bytes: command)
            #expect(reply == .integer(1))
        }
        scenario.step("all are subscribed again", until: { completeCount == 2 }) {
            #expect(messages == [payload])
            try server.command("CLIENT", "KILL", "TYPE", "pubsub")
        }
        scenario.step("messages come again", until: { messages.count == 20_001 }) {
            let session = try RedisSession(to: server.url, timeout: .seconds(10), loop: EventLoop())
            var batch = RedisBatch()
            for index in 0..<20_000 {
                batch.appendPublish([UInt8]("\(index)"), to: [UInt8]("room:\(index)"))
            }
            var numberCount = 0
            session.send(batch) { numberCount += $0.count ?? 0 }
            try session.wait { numberCount == 20_000 }
        }
        try scenario.run()
        #expect(messages.dropFirst().elementsEqual((0..<20_000).map { [UInt8]("\($0)") }))
        #expect(reasons == ["Server closed the connection"])
        subscriber.stop()
    }
}

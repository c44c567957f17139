// Requests that two parsers could read in two ways. Behind each stands another request: the node answers the
// first with its status, closes, and never sees the second.
import Testing

// Serialized: each case compares what the node has issued before and after it.
@Suite(.serialized, .cluster())
struct SmugglingTests {
    private static let smuggled = "GET /get/token?isLogin=true&userId=smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

    /// A request whose fields are `lines`, behind a Host.
    private static func fields(_ lines: String...) -> String {
        "GET /heartbeat?token=x HTTP/1.1\r\nHost: a\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    private static func target(_ target: String, version: String = "HTTP/1.1") -> String {
        "GET \(target) \(version)\r\nHost: a\r\n\r\n"
    }

    static let lengths = [
        "5\r\nContent-Length: 5", "5\r\nContent-Length: 0", "0\r\ncontent-length: 5", "+5", "-5", "-0",
        "5, 5", "5,6",
        "5 5", "5;", "0x5", "1e1", "5.0", "\"5\"", "", ",", "9223372036854775808", "18446744073709551616",
        "00000000000000000005",
    ]

    @Test(arguments: lengths)
    func lengthThatIsNotPlainIsRefused(length: String) async throws {
        try await expectRefusal(Self.fields("Content-Length: \(length)"), 400)
    }

    static let encodings = [
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Transfer-Encoding:",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\tchunked", "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked",
        "X: a\r\n Transfer-Encoding: chunked", "X: a\rTransfer-Encoding: chunked",
        "X: a\nTransfer-Encoding: chunked",
    ]

    @Test(arguments: encodings)
    func everyTransferEncodingIsRefused(line: String) async throws {
        try await expectRefusal(Self.fields(line), 400)
    }

    static let lines: [(String, String)] = [
        ("folded by a space", fields("X: a", " b")), ("folded by a tab", fields("X: a", "\tb")),
        ("folded request line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("bare line feed behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("bare line feed behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        ("bare line feed at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("bare line feeds only", "GET / HTTP/1.1\nHost: a\n\n"),
        ("bare line feed in front", "\n" + target("/")),
        ("bare carriage return in a value", fields("X: a\rb")),
        ("bare carriage return behind the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        ("carriage return twice", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("NUL in a value", fields("X: a\0b")), ("NUL in a name", fields("X\0: a")),
        ("NUL in the target", target("/\0")),
        ("delete in a value", fields("X: a\u{7f}b")),
        ("vertical tab in front of a value", fields("X:\u{b}a")),
        ("space in front of the colon", fields("X : a")), ("tab in front of the colon", fields("X\t: a")),
        ("no name", fields(": a")), ("no colon", fields("X")), ("a name of two words", fields("X Y: a")),
        ("a name outside ASCII", fields("X\u{e9}: a")), ("two hosts", fields("Host: b")),
        ("no host", "GET / HTTP/1.1\r\n\r\n"), ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        ("a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ]

    @Test(arguments: lines)
    func lineThatIsNoFieldIsRefused(name: String, head: String) async throws {
        try await expectRefusal(head, 400)
    }

    static let targets: [(String, Int)] = [
        ("heartbeat", 400), ("a:80", 400), ("//", 404), ("ftp://a/heartbeat", 400), ("http:/heartbeat", 400),
        ("http:///heartbeat", 400), ("http://", 400), ("/heartbeat#x", 400), ("/heartbeat?a#x", 400),
        ("?token=x", 400),
        ("/heart\tbeat", 400), ("/h\u{e9}artbeat", 400), ("/heartbeat?token=\u{7f}", 400),
        ("/" + String(repeating: "t", count: 9000), 431),
    ]

    @Test(arguments: targets)
    func targetThatIsNoneIsRefused(target: String, status: Int) async throws {
        // What the grammar allows and nobody serves keeps its connection; it says itself that it is the
        // last.
        var head = Self.target(target)
        if status == 404 { head = head.replacing("\r\n\r\n", with: "\r\nConnection: close\r\n\r\n") }
        try await expectRefusal(head, status)
    }

    static let versions: [(String, Int)] = [
        ("HTTP/2.0", 505), ("HTTP/0.9", 505), ("HTTP/3.1", 505), ("HTTP/1", 400), ("HTTP/1.", 400),
        ("HTTP/1.10", 400),
        ("HTTP/01.1", 400), ("http/1.1", 400), ("HTTP/1,1", 400), ("HTTPS/1.1", 400), ("HTTP/1.1 ", 400),
        ("", 400),
    ]

    @Test(arguments: versions)
    func versionThatIsNoneIsRefused(version: String, status: Int) async throws {
        try await expectRefusal(Self.target("/heartbeat?token=x", version: version), status)
    }

    @Test func moreThanAHundredFieldsAreTooLarge() async throws {
        try await expectRefusal(Self.fields(String(repeating: "X:\r\n", count: 99) + "X:"), 431)
        let answer = try await send(
            Self.fields(String(repeating: "X:\r\n", count: 98) + "X:"), patience: .zero)
        #expect(answer.answers[0].status == 500)
    }

    /// The answer must reach a peer that is still sending, so the node reads on before it closes.
    @Test func fieldOfAMebibyteIsAnsweredAndTheConnectionClosed() async throws {
        try await expectRefusal("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 1 << 20), 431)
    }

    @Test func bodyOverTheLimitIsRefusedAndNotSkipped() async throws {
        try await expectRefusal(Self.fields("Content-Length: 65537"), 413)
    }

    /// A proxy's form of the target: what counts is the path, not the authority.
    @Test(arguments: [
        "http://b/heartbeat?token=x", "HTTPS://b:1/heartbeat?token=x", "ws://b/heartbeat?token=x",
        "wss://b/heartbeat?token=x",
    ])
    func absoluteTargetIsServedByItsPath(target: String) async throws {
        let exchange = try await send(Self.target(target), patience: .zero)
        #expect(exchange.answers[0].status == 500)
        #expect(exchange.answers[0].body == #"{"data":"token error"}"#)
    }

    private func send(_ text: String, patience: Duration) async throws -> Exchange {
        let cluster = try Cluster.current
        return try await cluster.driver.exchange(cluster.node.port, text, patience: patience)
    }

    /// One answer, then the end; a second answer would be a byte where the end is due.
    private func expectRefusal(
        _ head: String, _ status: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        // Not 0: a case that fails is not to make the later ones fail.
        let before = try await issuedCount()
        let exchange = try await send(head + Self.smuggled, patience: .patience)
        #expect(exchange.answers[0].status == status, sourceLocation: sourceLocation)
        #expect(
            JSON(parsing: exchange.answers[0].body)?["data"].string != nil, sourceLocation: sourceLocation)
        #expect(exchange.answers[0].headers["connection"] == "close", sourceLocation: sourceLocation)
        #expect(
            exchange.closed, "the connection is still open, or more was answered",
            sourceLocation: sourceLocation)
        #expect(
            try await issuedCount() == before, "the second request was served",
            sourceLocation: sourceLocation)
    }

    private func issuedCount() async throws -> Double {
        try await Cluster.current.node.metrics()["roomcast_tokens_issued_total"]
    }
}

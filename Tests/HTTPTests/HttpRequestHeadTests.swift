import TestSupport
import Testing

@testable import HTTP

private func parse(_ text: String, limit: Int = 8192) -> HttpHeadResult<HttpRequestHead> {
    withRaw(text) { HttpRequestHead.parse($0, maximumBytes: limit) }
}

private func head(_ text: String, _ location: SourceLocation = #_sourceLocation) throws -> HttpRequestHead {
    guard case .complete(let head) = parse(text) else {
        Issue.record("refused: \(text)", sourceLocation: location)
        throw HttpHeadError.malformed
    }
    return head
}

/// A head whose target is `target`, or with `fields` behind its Host.
private func request(_ target: String = "/", _ fields: [String] = []) -> String {
    "GET \(target) HTTP/1.1\r\nHost: a\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
}

private func failure(_ text: String, limit: Int = 8192) -> HttpHeadError? {
    if case .failed(let error) = parse(text, limit: limit) { error } else { nil }
}

@Suite struct HttpRequestHeadTests {
    @Test func expectationIsKnownOrNot() throws {
        for (fields, expectation) in [
            ([], .none), (["Expect: 100-continue"], .continue), (["expect: 100-Continue"], .continue),
            (["Expect: 200-ok"], .unknown), (["Expect: 100-continue, x"], .unknown), (["Expect:"], .unknown),
            (["Expect: 100-continue", "Expect: 100-continue"], .unknown),
        ] as [([String], HttpExpectation)] {
            #expect(try head(request("/", fields)).expectation == expectation, "\(fields)")
        }
        #expect(try head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expectation == .none)
    }

    @Test func readsTheRequestLine() throws {
        let sample = "GET /ws?token=a%20b&x=? HTTP/1.1\r\nHost: example.org:8080\r\n\r\n"
        let get = try head(sample + "rest")
        #expect(get.method == .get && get.methodName == "GET")
        #expect(get.path == "/ws")
        #expect(get.withQuery { text(Array($0)) } == "token=a%20b&x=?")
        #expect(get.versionMinor == 1)
        #expect(get.headBytes == sample.utf8.count && get.contentLengthBytes == 0)
        let methods: [(String, HttpMethod)] = [
            ("HEAD", .head), ("POST", .post), ("DELETE", .delete), ("get", .other), ("M-SEARCH", .other),
        ]
        for (name, method) in methods {
            let parsed = try head("\(name) / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(parsed.method == method && parsed.methodName == name)
        }
    }

    @Test func pathComesFromEveryFormOfTarget() throws {
        let targets: [(String, String, String)] = [
            ("/", "/", ""), ("/a/b%2Fc", "/a/b%2Fc", ""), ("/?", "/", ""), ("/a?b?c", "/a", "b?c"),
            ("*", "*", ""),
            ("http://h:80/ws?x=1", "/ws", "x=1"), ("HTTPS://h", "/", ""), ("ws://h?q=/", "/", "q=/"),
            ("wss://h/", "/", ""), ("//h/ws", "//h/ws", ""),
        ]
        for (target, path, query) in targets {
            let parsed = try head(request(target))
            #expect(parsed.path == path, "\(target)")
            #expect(parsed.withQuery { text(Array($0)) } == query, "\(target)")
        }
    }

    @Test(arguments: [
        "ws", "h:80", "http:/x", "http://", "http:///ws", "ftp://h/", "?x=1", "/a#b", "/a?b#c", "/\u{1}",
        "/é", "/\u{7F}",
        "**",
    ])
    func badTargetIsMalformed(target: String) {
        #expect(failure(request(target)) == .malformed)
    }

    @Test(arguments: [
        "GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / x HTTP/1.1", "G(T / HTTP/1.1", "G\u{0}T / HTTP/1.1", "/ HTTP/1.1", "GET / HTTP/1.",
        "GET / HTTP/11",
        "GET / HTTP/1.10", "GET / HTTP/1,1", "GET / http/1.1", "GET / HTTP/a.1", "GET / HTTP/1.a",
        "GET / HTTPS/1.1", "x",
        "GET  HTTP/1.1", "GET / HTTP /1.1",
    ])
    func badRequestLineIsMalformed(line: String) {
        #expect(failure(line + "\r\nHost: a\r\n\r\n") == .malformed)
    }

    @Test func majorVersionMustBeOne() throws {
        #expect(failure("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == .unsupportedVersion)
        #expect(failure("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == .unsupportedVersion)
        #expect(failure("GET / HTTP/0.9\r\n\r\n") == .unsupportedVersion)
        #expect(try head("GET / HTTP/1.0\r\n\r\n").versionMinor == 0)
        #expect(try head("GET / HTTP/1.7\r\nHost: a\r\n\r\n").versionMinor == 1)
        #expect(HttpHeadError.unsupportedVersion.status == .versionNotSupported)
        #expect(HttpHeadError.tooLarge.status == .headerFieldsTooLarge)
        #expect(HttpHeadError.malformed.status == .badRequest)
    }

    @Test func fieldsAreFoundByNameInAnyCase() throws {
        let fields = try head(
            request(
                "/",
                ["X-One: \t first value \t", "x-one:second", "X-Empty:", "X-Blank:  \t", "X-Raw: é,\u{FF}"])
        ).fields
        #expect(fields.value(of: "X-ONE") == "first value")
        #expect(fields.values(of: "x-one") == ["first value", "second"])
        #expect(fields.count(of: "X-One") == 2 && fields.count == 6)
        #expect(fields.value(of: "X-Empty") == "" && fields.value(of: "X-Blank") == "")
        #expect(fields.value(of: "X-Raw") == "é,\u{FF}")
        #expect(fields.value(of: "X-On") == nil && fields.value(of: "X-Ones") == nil)
        #expect(fields.values(of: "None") == [] && fields.count(of: "None") == 0)
    }

    @Test func listsAreSearchedItemByItem() throws {
        let fields = try head(
            request(
                "/", ["Connection: keep-alive,\tUpgrade ,,", "Connection: Close", "Via: upgraded, up grade"])
        ).fields
        for token: StaticString in ["upgrade", "UPGRADE", "keep-alive", "close"] {
            #expect(fields.list("connection", contains: token))
        }
        #expect(!fields.list("Connection", contains: "keep"))
        #expect(!fields.list("Via", contains: "upgrade"))
        #expect(!fields.list("Upgrade", contains: "websocket"))
        #expect(fields.items(of: "Connection") == ["keep-alive", "Upgrade", "Close"])
    }

    @Test(arguments: [
        "X : a", " X: a", "\tX: a", "X", ": a", "X(): a", "X\u{0}: a", "é: a", "X: a\u{0}b", "X: a\u{1}",
        "X: a\u{7F}",
        "X: a\rb", "X: a\r", "X: a\r\n folded", "X: a\r\n\tfolded", "X: a\u{B}b",
    ])
    func badFieldIsMalformed(field: String) {
        #expect(failure(request("/", [field])) == .malformed)
    }

    @Test func bareLineFeedIsMalformedAsSoonAsItComes() {
        for text in [
            "\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\n", "\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
        ] {
            #expect(failure(text) == .malformed)
        }
    }

    @Test func hostIsNeededOnceAndPlain() throws {
        #expect(failure("GET / HTTP/1.1\r\n\r\n") == .malformed)
        #expect(failure(request("/", ["Host: a"])) == .malformed)
        #expect(failure("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n") == .malformed)
        for host in ["a b", "a/b", "u@h", "a,b", "a?b", "a#b", "é", "a\\b"] {
            #expect(failure("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n") == .malformed, "\(host)")
        }
        for host in ["", "a", "a:1", "[::1]:80", "xn--a.example"] {
            #expect(try head("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n").fields.value(of: "Host") == host)
        }
    }

    @Test func bodyLengthIsPlainDigitsOnce() throws {
        #expect(try head(request("/", ["Content-Length: 0"])).contentLengthBytes == 0)
        #expect(try head(request("/", ["content-length: 0042"])).contentLengthBytes == 42)
        let longest = String(repeating: "9", count: 18)
        #expect(try head(request("/", ["Content-Length: \(longest)"])).contentLengthBytes == Int(longest))
        for value in ["", "-1", "+1", "1 2", "1,1", "0x1", "1.0", "a", "٣", longest + "9"] {
            #expect(failure(request("/", ["Content-Length: \(value)"])) == .malformed, "\(value)")
        }
        #expect(failure(request("/", ["Content-Length: 1", "Content-Length: 1"])) == .malformed)
        #expect(failure(request("/", ["Content-Length: 1", "Content-Length: 2"])) == .malformed)
        for coding in ["chunked", "identity", ""] {
            #expect(failure(request("/", ["Transfer-Encoding: \(coding)"])) == .malformed)
        }
    }

    @Test func connectionGoesOnByVersionAndField() throws {
        func option(_ minor: Int, _ fields: String) throws -> HttpConnectionOption {
            try head("GET / HTTP/1.\(minor)\r\nHost: a\r\n\(fields)\r\n").connectionOption
        }
        #expect(try option(1, "") == .implied)
        #expect(try option(1, "Connection: Upgrade\r\n") == .implied)
        #expect(try option(1, "Connection: x, CLOSE\r\n") == .close)
        #expect(try option(0, "") == .close)
        #expect(try option(0, "Connection: Keep-Alive\r\n") == .keepAlive)
        #expect(try option(0, "Connection: keep-alive, close\r\n") == .close)
    }

    @Test func emptyLinesInFrontAreIgnored() throws {
        let parsed = try head("\r\n\r\n" + request("/a"))
        #expect(parsed.path == "/a" && parsed.headBytes == 4 + request("/a").utf8.count)
        guard case .incomplete = parse("\r\n\r\n") else {
            Issue.record("empty lines are no head")
            return
        }
    }

    @Test func byteLimitIsExact() {
        let text = request("/", ["X: " + String(repeating: "a", count: 500)])
        let length = text.utf8.count
        for extra in ["", "next request"] {
            guard case .complete = parse(text + extra, limit: length) else {
                Issue.record("a head of exactly the limit is allowed")
                return
            }
            #expect(failure(text + extra, limit: length - 1) == .tooLarge)
        }
        let endless = String(repeating: "a", count: length)
        #expect(failure(endless, limit: length) == .tooLarge)
        #expect(failure(endless, limit: length + 1) == nil)
        #expect(failure(String(repeating: "\r\n", count: 50), limit: 100) == .tooLarge)
    }

    @Test func fieldCountLimitIsExact() throws {
        let most = (1..<HttpFields.maximumCount).map { "X-\($0): a" }
        #expect(try head(request("/", most)).fields.count == HttpFields.maximumCount)
        #expect(failure(request("/", most + ["X: a"])) == .tooLarge)
    }

    @Test func headSplitAtEveryByteParsesTheSame() throws {
        let bytes = Array(("\r\n" + request("/ws?a=1", ["Upgrade: websocket"])).utf8)
        for step in [1, 2, 3, 7] {
            var scanner = HttpHeadScanner()
            for length in stride(from: 0, to: bytes.count, by: step) {
                let result = withRaw(Array(bytes[..<length])) {
                    HttpRequestHead.parse($0, maximumBytes: 8192, scanner: &scanner)
                }
                guard case .incomplete = result else {
                    Issue.record("complete or failed after \(length) bytes")
                    return
                }
            }
            let result = withRaw(bytes + [0x47]) {
                HttpRequestHead.parse($0, maximumBytes: 8192, scanner: &scanner)
            }
            guard case .complete(let head) = result else {
                Issue.record("not complete in steps of \(step)")
                return
            }
            #expect(head.path == "/ws" && head.headBytes == bytes.count)
            #expect(head.fields.value(of: "upgrade") == "websocket")
        }
    }

    @Test func changedBytesNeverTrap() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let sample = Array(request("http://h/ws?a=%41", ["Content-Length: 3", "Connection: upgrade"]).utf8)
        for round in 0..<3000 {
            var bytes = sample
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let special: [UInt8] = [
                    0, 0x0A, 0x0D, 0x20, 0x3A, 0x09, 0xFF, UInt8.random(in: 0...255, using: &random),
                ]
                bytes[Int.random(in: bytes.indices, using: &random)] =
                    special.randomElement(using: &random) ?? 0
            }
            let result = withRaw(bytes) { HttpRequestHead.parse($0, maximumBytes: 8192) }
            guard case .complete(let head) = result else { continue }
            #expect(head.headBytes <= bytes.count && !head.path.isEmpty, "seed \(seed), round \(round)")
            #expect(head.fields.count(of: "Host") == 1, "seed \(seed), round \(round)")
        }
    }

    /// Nothing reads cookies: they are checked, and then they are gone.
    @Test func cookiesAreCheckedAndNotKept() throws {
        let long = String(repeating: "c=1; ", count: 2000)
        let text = request("/?q", ["A: 1", "cookie: \(long)", "B: 2", "Cookie: x", "C: 3"])
        let parsed = try head(text)
        #expect(parsed.headBytes == text.utf8.count)
        #expect(parsed.path == "/" && parsed.fields.value(of: "Host") == "a")
        for (name, value) in [("A", "1"), ("B", "2"), ("C", "3")] as [(StaticString, String)] {
            #expect(parsed.fields.values(of: name) == [value])
        }
        #expect(parsed.fields.count(of: "Cookie") == 0)
        #expect(parsed.fields.count == 4)
        #expect(failure(request("/", ["Cookie: a\u{0}"])) == .malformed)
        #expect(failure(request("/", ["Cookie : a"])) == .malformed)
        let many = Array(repeating: "Cookie: a", count: HttpFields.maximumCount)
        #expect(try head(request("/", many)).fields.count == 1, "they do not count as fields")
    }
}

// Request heads with their query and handshake: what was accepted is held against a second reader, and cuts
// must not matter. Single thread.

/// Everything that a caller can learn of an accepted request.
private struct Request: Equatable {
    let method: String
    let path: String
    let query: [UInt8]
    let versionMinor: Int
    let headBytes: Int
    let contentLengthBytes: Int
    let fieldCount: Int
    let isKeepAlive: Bool

    init(_ head: HttpRequestHead) {
        method = head.methodName
        path = head.path
        query = head.withQuery { Array($0) }
        versionMinor = head.versionMinor
        headBytes = head.headBytes
        contentLengthBytes = head.contentLengthBytes
        fieldCount = head.fields.count
        isKeepAlive = head.isKeepAlive
    }
}

enum RequestHeadTarget {
    /// The gateway's default.
    private static let headLimit = 8192
    private static let fieldNames: [StaticString] = [
        "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Sec-WebSocket-Key",
        "Sec-WebSocket-Version", "X-Forwarded-For", "Origin",
    ]
    private static let parameterNames: [StaticString] = [
        "token", "roomIds", "isLogin", "userId", "deviceId", "",
    ]

    private enum Outcome: Equatable {
        case incomplete
        case failed(HttpHeadError)
        case complete(Request)
    }

    static func run(_ input: [UInt8], _ random: inout SeededRandom) {
        for limit in [headLimit, Int.random(in: 0...input.count + 1, using: &random)] {
            let whole = parse(input, limit)
            for cuts in cuttings(of: input.count, &random) {
                let outcome = parse(input, limit, cuts: cuts)
                require(
                    outcome == whole.outcome,
                    "cut at \(cuts), limit \(limit): \(outcome), not \(whole.outcome)")
            }
            if let head = whole.head { check(head, input, limit) }
        }
        checkQuery(input)
    }

    private static func parse(_ input: [UInt8], _ limit: Int) -> (outcome: Outcome, head: HttpRequestHead?) {
        withExactCopy(input) { bytes in
            switch HttpRequestHead.parse(UnsafeRawBufferPointer(bytes), maximumBytes: limit) {
            case .incomplete: (.incomplete, nil)
            case .failed(let error): (.failed(error), nil)
            case .complete(let head): (.complete(Request(head)), head)
            }
        }
    }

    /// What the first piece says that is not "incomplete".
    private static func parse(_ input: [UInt8], _ limit: Int, cuts: [Int]) -> Outcome {
        var scanner = HttpHeadScanner()
        for end in cuts {
            let result = withExactCopy(input[..<end]) { bytes in
                HttpRequestHead.parse(UnsafeRawBufferPointer(bytes), maximumBytes: limit, scanner: &scanner)
            }
            switch result {
            case .incomplete: continue
            case .failed(let error): return .failed(error)
            case .complete(let head): return .complete(Request(head))
            }
        }
        return .incomplete
    }

    private static func check(_ head: HttpRequestHead, _ input: [UInt8], _ limit: Int) {
        require(
            head.headBytes <= min(limit, input.count), "a head of \(head.headBytes) bytes is over its limit")
        guard let plain = PlainHead(input[..<head.headBytes]) else {
            fatalError("does not hold: another reader takes it for a head")
        }
        require(head.fields.count == plain.fields.count, "\(plain.fields.count) fields")
        require(head.fields.count <= HttpFields.maximumCount, "not too many fields")
        for name in fieldNames {
            let texts = plain.texts("\(name)".lowercased())
            require(head.fields.values(of: name) == texts, "\(name) is \(texts)")
            require(head.fields.value(of: name) == texts.first, "the first \(name) is \(texts.first ?? "")")
        }
        checkStartLine(head, plain)
        checkBody(head, plain)
        checkHandshake(head, plain)
        let parameters = PlainQuery.pairs(head.withQuery { Array($0) })
        require(
            (try? head.queryParameters()) != nil || parameters == nil, "a query that another reader takes")
    }

    private static func checkStartLine(_ head: HttpRequestHead, _ plain: PlainHead) {
        let parts = plain.startLine.split(separator: 0x20, omittingEmptySubsequences: false)
        guard parts.count == 3 else { fatalError("does not hold: a request line has three parts") }
        let target = String(decoding: parts[1], as: UTF8.self)
        require(PlainHead.isToken(parts[0]), "a method is a token")
        require(head.methodName == String(decoding: parts[0], as: UTF8.self), "the method as it was sent")
        require(parts[1].allSatisfy { $0 > 0x20 && $0 < 0x7F }, "a target is visible")
        require(!target.isEmpty && !target.contains("#"), "a target is not empty and has no fragment")
        let version = String(decoding: parts[2], as: UTF8.self)
        require(version.utf8.count == 8 && version.hasPrefix("HTTP/1."), "\(version) is HTTP/1")
        require(head.versionMinor == (version == "HTTP/1.0" ? 0 : 1), "\(version) has its minor version")

        let halves = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var path = String(halves[0])
        if !path.hasPrefix("/"), path != "*" {
            let pieces = path.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
            require(
                pieces.count >= 3 && pieces[1].isEmpty && !pieces[2].isEmpty, "\(target) has an authority")
            path = "/" + (pieces.count == 4 ? String(pieces[3]) : "")
        }
        require(head.path == path, "the path of \(target) is \(path), not \(head.path)")
        let query = halves.count == 2 ? Array(halves[1].utf8) : []
        require(head.withQuery { Array($0) } == query, "the query of \(target)")
    }

    /// Where the next request begins must be beyond doubt.
    private static func checkBody(_ head: HttpRequestHead, _ plain: PlainHead) {
        require(plain.values("transfer-encoding").isEmpty, "no Transfer-Encoding")
        let lengths = plain.texts("content-length")
        require(lengths.count <= 1, "one Content-Length at most")
        if let text = lengths.first {
            require(text.utf8.allSatisfy { (48...57).contains($0) }, "a length of digits")
            require(Int(text) == head.contentLengthBytes, "\(text) is the length")
        } else {
            require(head.contentLengthBytes == 0, "no body without a length")
        }
        let hosts = plain.texts("host")
        require(hosts.count == 1 || (hosts.isEmpty && head.versionMinor == 0), "one Host")
        require(!hosts.contains { $0.contains { "/?#@,\\ \t".contains($0) } }, "a plain Host")
        let options = plain.items("connection")
        let isKept = !options.contains("close") && (head.versionMinor == 1 || options.contains("keep-alive"))
        require(head.isKeepAlive == isKept, "whether the connection goes on")
    }

    private static func checkHandshake(_ head: HttpRequestHead, _ plain: PlainHead) {
        let keys = plain.values("sec-websocket-key")
        let isKey = keys.first.map { key in
            let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
            return key.count == 24 && key.suffix(2).elementsEqual("==".utf8)
                && key.prefix(22).allSatisfy(alphabet.contains)
        }
        let expected =
            head.methodName == "GET" && head.versionMinor == 1
            && plain.items("upgrade").contains("websocket")
            && plain.items("connection").contains("upgrade")
            && plain.texts("sec-websocket-version") == ["13"]
            && keys.count == 1 && isKey == true
        let handshake = try? WebSocketHandshake(head)
        require((handshake != nil) == expected, "a handshake: \(expected)")
        guard let handshake else { return }
        require(handshake.compression == nil, "compression only where it is accepted")
        let compressing = try? WebSocketHandshake(head, acceptsCompression: true)
        let offers = plain.texts("sec-websocket-extensions")
        require(compressing != nil, "an offer of an extension fails no handshake")
        require(
            compressing?.compression == nil || offers.contains { $0.contains("permessage-deflate") },
            "compression that was offered")
        var output: [UInt8] = []
        let subprotocol = handshake.offeredSubprotocols.first
        handshake.appendResponse(subprotocol: subprotocol, to: &output)
        let parsed = output.withUnsafeBytes { HttpResponseHead.parse($0, maximumBytes: $0.count) }
        guard case .complete(let answer) = parsed else {
            fatalError("does not hold: our own answer is an answer")
        }
        require(answer.statusCode == 101 && answer.headBytes == output.count, "a 101 and nothing behind it")
        require(answer.fields.count == (subprotocol == nil ? 3 : 4), "no field that nobody asked for")
        require(
            answer.fields.value(of: "Sec-WebSocket-Protocol") == subprotocol,
            "the subprotocol that was chosen")
        require(
            answer.fields.value(of: "Sec-WebSocket-Accept")?.utf8.count == 28, "an accept value of 20 bytes")
    }

    /// The whole input as a query: more of it is decoded than heads let through.
    private static func checkQuery(_ input: [UInt8]) {
        let expected = PlainQuery.pairs(input)
        let query = withExactCopy(input) { try? QueryParameters(UnsafeRawBufferPointer($0)) }
        require((query == nil) == (expected == nil), "a query: \(expected != nil)")
        guard let query, let expected else { return }
        for name in parameterNames {
            let value = expected.first { $0.name.utf8.elementsEqual("\(name)".utf8) }?.value
            let found = query.first(name)
            require(
                found.map { Array($0.utf8) } == value.map { Array($0.utf8) },
                "\(name) is \(value ?? "absent")")
        }
    }
}

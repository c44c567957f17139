import HTTP
import RedisSchema
import Testing

@testable import Gateway

@Suite struct CrossOriginTests {
    private let any = CrossOrigin(allowed: .any)
    private let listed = CrossOrigin(
        allowed: AllowedOrigins.converter.value(of: "https://app.example,http://localhost:3000")!)
    private let exposed = "Access-Control-Expose-Headers: Roomcast-Detail, Roomcast-Heartbeat, Retry-After"

    private func text(_ fields: [HttpResponseField]) -> [String] { fields.map { "\($0.name): \($0.value)" } }

    @Test func withoutAListEveryPageMayRead() throws {
        let fromPage = try request("GET", ["Origin: https://anywhere.example"])
        #expect(text(any.fields(for: fromPage)) == ["Access-Control-Allow-Origin: *", exposed])
        let fromSandbox = try request("GET", ["Origin: null"])
        #expect(text(any.fields(for: fromSandbox)) == ["Access-Control-Allow-Origin: *", exposed])
        #expect(any.mayConnect(fromPage))
    }

    @Test func whoSendsNoOriginIsToldNothing() throws {
        let plain = try request("GET", [])
        #expect(text(any.fields(for: plain)) == [])
        #expect(text(listed.fields(for: plain)) == ["Vary: Origin"])
        #expect(listed.mayConnect(plain))
    }

    @Test(arguments: ["https://app.example", "http://localhost:3000"])
    func listedOriginIsNamed(origin: String) throws {
        let head = try request("GET", ["Origin: \(origin)"])
        #expect(
            text(listed.fields(for: head)) == [
                "Vary: Origin", "Access-Control-Allow-Origin: \(origin)", exposed,
            ])
        #expect(listed.mayConnect(head))
    }

    @Test(arguments: [
        "https://evil.example", "http://app.example", "https://app.example:444",
        "https://app.example.evil.example", "https://sub.app.example", "null", "", "https://app.example/",
        "https://app.example https://evil.example", "*",
    ])
    func otherOriginIsNot(origin: String) throws {
        let head = try request("GET", ["Origin: \(origin)"])
        #expect(text(listed.fields(for: head)) == ["Vary: Origin"])
        #expect(!listed.mayConnect(head))
    }

    @Test func originsCompareWithoutCaseAndStandardPort() throws {
        for origin in ["HTTPS://App.Example", "https://app.example:443"] {
            #expect(listed.mayConnect(try request("GET", ["Origin: \(origin)"])), "\(origin)")
        }
    }

    @Test func preflightIsAnOptionsRequestThatAsks() throws {
        let asks = ["Origin: https://app.example", "Access-Control-Request-Method: GET"]
        let preflight = try request("OPTIONS", asks)
        #expect(CrossOrigin.isPreflight(preflight))
        #expect(!CrossOrigin.isPreflight(try request("GET", asks)))
        #expect(!CrossOrigin.isPreflight(try request("OPTIONS", [asks[0]])))
        #expect(!CrossOrigin.isPreflight(try request("OPTIONS", [asks[1]])))
        let fields = text(listed.preflightFields(for: preflight))
        #expect(fields.contains("Access-Control-Allow-Methods: GET"))
        #expect(fields.contains("Access-Control-Allow-Headers: Authorization, Content-Type"))
    }

    private func allowedHeaders(_ asked: String...) throws -> String? {
        let head = try request("OPTIONS", asked.map { "Access-Control-Request-Headers: \($0)" })
        let fields = text(any.preflightFields(for: head))
        #expect(fields.contains("Vary: Access-Control-Request-Headers"))
        let name = "Access-Control-Allow-Headers: "
        return fields.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
    }

    @Test func preflightAllowsWhatIsAskedFor() throws {
        let usual = "Authorization, Content-Type"
        #expect(
            try allowedHeaders("authorization,baggage,sentry-trace") == "\(usual), baggage, sentry-trace")
        #expect(
            try allowedHeaders("traceparent , CONTENT-TYPE", "x-b3!#$%&'*+.^_`|~1")
                == "\(usual), traceparent, x-b3!#$%&'*+.^_`|~1")
        for wrong in ["", ",", "a b", "a:b", "a, \"b\"", "é", "a,b;c", "(a)", "a\tb"] {
            #expect(try allowedHeaders(wrong) == usual, "\(wrong)")
        }
        let longest = String(repeating: "a", count: 1023)
        #expect(try allowedHeaders(longest) == "\(usual), \(longest)")
        #expect(try allowedHeaders(longest + "a") == usual)
    }

    @Test func withoutAHeadNobodyIsNamed() {
        #expect(text(any.fields(for: nil)) == ["Access-Control-Allow-Origin: *", exposed])
        #expect(text(listed.fields(for: nil)) == ["Vary: Origin"])
    }

    /// A proxy or a server that reads the other one would judge differently.
    @Test func ofTwoOriginsNoneCounts() throws {
        let origin = "Origin: https://app.example"
        for head in [
            try request("GET", [origin, origin]), try request("GET", [origin, "Origin: https://b.example"]),
        ] {
            for one in [any, listed] {
                #expect(!one.isUnambiguous(head))
                #expect(!one.mayConnect(head))
            }
            #expect(text(listed.fields(for: head)) == ["Vary: Origin"])
        }
        #expect(any.isUnambiguous(try request("GET", [origin])))
        #expect(any.isUnambiguous(try request("GET", [])))
    }
}

import Testing
import WebSocket

@testable import Gateway

@Suite struct CrossOriginTests {
    private let any = CrossOrigin(allowed: .any)
    private let listed = CrossOrigin(allowed: .list(["https://app.example", "http://localhost:3000"]))

    private func text(_ fields: [HttpResponseField]) -> [String] { fields.map { "\($0.name): \($0.value)" } }

    @Test func withoutAListEveryPageMayRead() throws {
        let fromPage = try request("GET", ["Origin: https://anywhere.example"])
        #expect(text(any.fields(for: fromPage)) == ["Access-Control-Allow-Origin: *"])
        let fromSandbox = try request("GET", ["Origin: null"])
        #expect(text(any.fields(for: fromSandbox)) == ["Access-Control-Allow-Origin: *"])
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
        #expect(text(listed.fields(for: head)) == ["Vary: Origin", "Access-Control-Allow-Origin: \(origin)"])
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
        #expect(fields.contains("Access-Control-Allow-Origin: https://app.example"))
        #expect(fields.contains("Access-Control-Allow-Methods: GET"))
    }
}

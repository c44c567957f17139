import HTTP
import Options
import Testing

@testable import Gateway

@Suite struct AdminHostsTests {
    private func allows(
        _ host: String, _ hosts: AdminHosts = AdminHosts(["gateway", "Node-1.example"])
    ) throws -> Bool {
        let text = "GET /readyz HTTP/1.1\r\nHost: \(host)\r\n\r\n"
        let head = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 8192) }
        guard case .complete(let request) = head else { throw UsageError("no request: \(text)") }
        return hosts.allow(request)
    }

    @Test(arguments: [
        "127.0.0.1", "127.0.0.1:9090", "10.0.0.7:9090", "[::1]", "[::1]:9090", "[2001:db8::1]:1",
        "localhost",
        "localhost:9090", "LocalHost", "gateway", "gateway:9090", "GATEWAY", "node-1.example:9090",
        "localhost:",
    ])
    func addressesAndOwnNamesAreTaken(host: String) throws {
        #expect(try allows(host))
    }

    @Test(arguments: [
        "evil.example", "evil.example:9090", "localhost.evil.example", "evil-localhost",
        "gateway.evil.example",
        "127.0.0.1.evil.example", "", ":9090", "[]", "[gateway]", "[::1", "[::1]x", "::1", "127.0.0.1:x",
        "127.1",
        "0x7f000001", "node-1", "localhost:9090:9090",
    ])
    func otherNamesAreNot(host: String) throws {
        #expect(try !allows(host))
    }

    @Test func withoutNamesAddressesAndLocalhostAreLeft() throws {
        #expect(try allows("127.0.0.1:9090", AdminHosts()))
        #expect(try allows("localhost", AdminHosts()))
        #expect(try !allows("gateway", AdminHosts()))
    }

    /// No browser sends such a request; simple checks of balancers do.
    @Test func requestWithoutHostIsTaken() throws {
        let text = "GET /readyz HTTP/1.0\r\n\r\n"
        let head = Array(text.utf8).withUnsafeBytes { HttpRequestHead.parse($0, maximumBytes: 8192) }
        guard case .complete(let request) = head else { throw UsageError("no request") }
        #expect(AdminHosts().allow(request))
    }

    @Test func optionTakesNames() throws {
        #expect(try configuration().adminHosts == AdminHosts())
        let hosts = try configuration(["--admin-hosts", "gateway, a.example"]).adminHosts
        #expect(hosts == AdminHosts(["gateway", "a.example"]))
        for wrong in ["a.example:9090", "http://a", "*", "a b", "[::1]", String(repeating: "a", count: 254)]
        {
            #expect(throws: UsageError.self) { try configuration(["--admin-hosts", wrong]) }
        }
    }
}

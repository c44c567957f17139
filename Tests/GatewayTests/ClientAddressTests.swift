import Network
import Testing

@testable import Gateway

@Suite struct ClientAddressTests {
    private func find(
        _ peer: String, trusted: [String] = ["10.0.0.0/8", "fd00::/8"], _ fields: String...
    ) throws -> String {
        let head = try request("GET", fields.map { "X-Forwarded-For: \($0)" })
        let blocks = try trusted.map { try #require(CidrBlock($0)) }
        return ClientAddress.find(head, peer: try #require(IPAddress(peer)), trusted: blocks).description
    }

    @Test func strangerIsWhoItIs() throws {
        #expect(try find("192.0.2.1", "203.0.113.9") == "192.0.2.1")
        #expect(try find("10.0.0.1", trusted: [], "203.0.113.9") == "10.0.0.1")
        #expect(try find("192.0.2.1") == "192.0.2.1")
    }

    @Test func proxyWithoutTheFieldIsTheClient() throws {
        #expect(try find("10.0.0.1") == "10.0.0.1")
        #expect(try find("10.0.0.1", "") == "10.0.0.1")
        #expect(try find("10.0.0.1", " , ,") == "10.0.0.1")
    }

    @Test func lastAddressThatIsNoProxyIsTheClient() throws {
        #expect(try find("10.0.0.1", "203.0.113.9") == "203.0.113.9")
        #expect(try find("10.0.0.1", "203.0.113.9, 10.0.0.2") == "203.0.113.9")
        #expect(try find("10.0.0.1", "203.0.113.9,10.0.0.3 ,\t10.0.0.2") == "203.0.113.9")
    }

    @Test func whatTheClientClaimsItselfIsIgnored() throws {
        #expect(try find("10.0.0.1", "6.6.6.6, 203.0.113.9") == "203.0.113.9")
        #expect(try find("10.0.0.1", "10.0.0.9, 203.0.113.9") == "203.0.113.9")
        #expect(try find("10.0.0.1", "6.6.6.6, 10.0.0.9, 203.0.113.9, 10.0.0.2") == "203.0.113.9")
        #expect(try find("10.0.0.1", "garbage, 203.0.113.9") == "203.0.113.9")
    }

    @Test func severalFieldsAreOneList() throws {
        #expect(try find("10.0.0.1", "6.6.6.6", "203.0.113.9", "10.0.0.2") == "203.0.113.9")
        #expect(try find("10.0.0.1", "203.0.113.9", "10.0.0.3, 10.0.0.2") == "203.0.113.9")
    }

    @Test func onlyProxiesMakeTheFirstOfThemTheClient() throws {
        #expect(try find("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3")
    }

    @Test(arguments: [
        "garbage", "1.2.3", "1.2.3.4.5", "unknown", "_hidden", "300.1.1.1", "1.2.3.4:99999", "::1%lo",
        "[::1", "::1]",
        "[]", "[1.2.3.4]", "[::1]x", "[[::1]]", "[::1] ]", "[::1%lo]", "[::1]:", "[::1]:x", "[unknown]",
    ])
    func entryThatIsNoAddressEndsTheWalkAtItsWriter(entry: String) throws {
        #expect(try find("10.0.0.1", "6.6.6.6, \(entry)") == "10.0.0.1")
        #expect(try find("10.0.0.1", "6.6.6.6, \(entry), 10.0.0.2") == "10.0.0.2")
    }

    @Test func portsAreLeftOut() throws {
        #expect(try find("10.0.0.1", "203.0.113.9:4711") == "203.0.113.9")
        #expect(try find("10.0.0.1", "203.0.113.9:1, 10.0.0.2:65535") == "203.0.113.9")
        #expect(try find("10.0.0.1", "[2001:db8::9]:4711") == "2001:db8::9")
    }

    @Test func bracketsNeedNoPort() throws {
        #expect(try find("10.0.0.1", "[2001:db8::9]") == "2001:db8::9")
        #expect(try find("10.0.0.1", "6.6.6.6, [2001:db8::9], [fd00::2], [fd00::3]:1") == "2001:db8::9")
        #expect(try find("10.0.0.1", "[::ffff:203.0.113.9]") == "203.0.113.9")
    }

    @Test func bothFamiliesAreWalked() throws {
        #expect(try find("fd00::1", "2001:db8::9") == "2001:db8::9")
        #expect(try find("fd00::1", "2001:DB8:0:0::9, fd00::2, 10.0.0.2") == "2001:db8::9")
        #expect(try find("::ffff:10.0.0.1", "203.0.113.9") == "203.0.113.9", "a mapped address is IPv4")
        #expect(try find("10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2") == "203.0.113.9")
    }

    @Test func fieldNameIsFoundInAnyCase() throws {
        let head = try request("GET", ["x-forwarded-FOR: 203.0.113.9"])
        let peer = try #require(IPAddress("10.0.0.1"))
        let block = try #require(CidrBlock("10.0.0.1"))
        #expect(ClientAddress.find(head, peer: peer, trusted: [block]).description == "203.0.113.9")
    }
}

import Testing

@testable import Network

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("192.0.2.1", "192.0.2.1"),
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"),
        ("0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:c000:201", "192.0.2.1"),
        ("::1.2.3.4", "::102:304"), ("::1:0", "::1:0"), ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ])
    func addressesPrintInCanonicalForm(_ text: String, _ canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.", "1..3.4", "1.2.3.4 ", "+1.2.3.4",
        "a.b.c.d",
        ":", ":::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8",
        "::12345", "::g",
        "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "fe80::1%eth0", "[::1]", "::1/128", "::+1",
        "::1.2.3", "1.2.3.4\0", "::1\0x", "\0::1",
    ])
    func otherTextsAreRefused(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("192.0.2.77", "192.0.2.77"), ("::ffff:192.0.2.77", "192.0.2.77"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"), ("2001:db8:1:3::", "2001:db8:1:3::"),
        ("::1", "::"),
    ])
    func subscriberHasAnAddressOrANetworkOf64Bits(_ text: String, _ subscriber: String) throws {
        #expect(try #require(IPAddress(text)).subscriber == IPAddress(subscriber))
    }

    @Test func networkBytesOfBothFamilies() {
        #expect(IPAddress(networkBytes: [127, 0, 0, 1]) == IPAddress("127.0.0.1"))
        #expect(IPAddress(v4: 0x7F00_0001) == IPAddress("127.0.0.1"))
        let bytes: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        #expect(IPAddress(networkBytes: bytes) == IPAddress("2001:db8::1"))
        #expect(IPAddress(networkBytes: bytes.dropLast()) == nil)
        #expect(IPAddress(networkBytes: []) == nil)
    }

    @Test func mappedAddressesAreV4() throws {
        #expect(try #require(IPAddress("::ffff:10.0.0.1")).isV4)
        #expect(try !#require(IPAddress("::10.0.0.1")).isV4)
        #expect(try !#require(IPAddress("::")).isV4)
    }

    @Test func everyZeroPatternRoundTrips() throws {
        for pattern in 0..<256 {
            let groups = (0..<8).map { pattern >> $0 & 1 == 0 ? "0" : "\($0 + 1)" }
            let address = try #require(IPAddress(groups.joined(separator: ":")))
            #expect(IPAddress(address.description) == address, "\(groups)")
        }
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("10.1.2.3/8", "10.0.0.1", true), ("0.0.0.0/0", "255.1.2.3", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.0/31", "192.0.2.1", true),
        ("192.0.2.0/31", "192.0.2.2", false), ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("2001:db8::/32", "2001:db8:ffff::", true), ("2001:db8::/32", "2001:db9::", false),
        ("2001:db8::/64", "2001:db8::ffff:0:0:1", true), ("2001:db8::/64", "2001:db8:0:1::", false),
        ("2001:db8::/65", "2001:db8::8000:0:0:0", false), ("::1", "::1", true), ("::1", "::2", false),
        ("::/0", "2001:db8::1", true), ("::/0", "10.0.0.1", true),
    ])
    func blocksContainTheirAddresses(_ block: String, _ address: String, _ isContained: Bool) throws {
        let block = try #require(CidrBlock(block))
        #expect(try block.contains(#require(IPAddress(address))) == isContained)
    }

    @Test func blocksPrintTheirBase() {
        #expect(CidrBlock("10.1.2.3/8")?.description == "10.0.0.0/8")
        #expect(CidrBlock("192.0.2.1")?.description == "192.0.2.1/32")
        #expect(CidrBlock("2001:db8::1/32")?.description == "2001:db8::/32")
        #expect(CidrBlock("::1")?.description == "::1/128")
        #expect(CidrBlock("0.0.0.0/0")?.description == "0.0.0.0/0")
    }

    @Test(arguments: [
        "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "10/8", "a/8",
    ])
    func otherBlocksAreRefused(_ text: String) {
        #expect(CidrBlock(text) == nil)
    }

    @Test func addressesThatNobodyElseCanUseAreKnown() throws {
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            #expect(try #require(IPAddress(text)).isUnspecified)
            #expect(try #require(IPAddress(text)).isLoopback == false)
        }
        for text in ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.2"] {
            #expect(try #require(IPAddress(text)).isLoopback)
            #expect(try #require(IPAddress(text)).isUnspecified == false)
        }
        for text in ["126.0.0.1", "128.0.0.1", "0.0.0.1", "::2", "1::1", "2001:db8::"] {
            #expect(try #require(IPAddress(text)).isLoopback == false)
            #expect(try #require(IPAddress(text)).isUnspecified == false)
        }
    }
}

import Testing

@testable import Gateway

@Suite struct ReportedAddressTests {
    /// What is bound; the node's end of its connection to Redis; what others are told.
    @Test(arguments: [
        ("192.0.2.1:8080", "198.51.100.7", "192.0.2.1:8080"),
        ("gateway.example:8080", "198.51.100.7", "gateway.example:8080"),
        ("127.0.0.1:8080", nil, "127.0.0.1:8080"), ("[2001:db8::1]:80", nil, "[2001:db8::1]:80"),
        ("0.0.0.0:8080", "198.51.100.7", "198.51.100.7:8080"),
        ("[::]:8080", "198.51.100.7", "198.51.100.7:8080"),
        ("[::]:8080", "2001:db8::7", "[2001:db8::7]:8080"),
        ("0.0.0.0:8080", "::ffff:198.51.100.7", "198.51.100.7:8080"),
        // Nobody else gets there by a loopback address, and a Unix socket has none: the machine's name is
        // left.
        ("0.0.0.0:8080", "127.0.0.1", "machine:8080"), ("[::]:8080", "::1", "machine:8080"),
        ("0.0.0.0:8080", nil, "machine:8080"), ("0.0.0.0:8080", "fe80::1%eth0", "machine:8080"),
    ])
    func everyAddressIsReplacedByOneThatOthersCanUse(bound: String, localHost: String?, text: String) {
        #expect(ReportedAddress(bound: bound, hostName: "machine").text(localHost: localHost) == text)
    }
}

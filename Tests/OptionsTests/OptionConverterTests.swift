import Network
import Testing

@testable import Options

private enum Level: String, CaseIterable, Sendable {
    case low, high
}

@Suite struct OptionConverterTests {
    @Test func integersKeepToTheirRange() {
        let converter = IntegerConverter(1...256)
        #expect(converter.value(of: "1") == 1)
        #expect(converter.value(of: "256") == 256)
        for text in ["0", "257", "", "-1", "+1", "1 ", "1.0", "1e2", "١", "99999999999999999999"] {
            #expect(converter.value(of: text) == nil, "\(text)")
        }
    }

    @Test func choicesAreTheRawValues() {
        let converter = ChoiceConverter(Level.self)
        #expect(converter.value(of: "high") == .high)
        #expect(converter.value(of: "High") == nil)
        #expect(converter.expected == "low|high")
    }

    @Test func switchesTakeTheSpellingsOfEnvironments() {
        for text in ["on", "TRUE", "1"] { #expect(SwitchConverter().value(of: text) == true) }
        for text in ["off", "False", "0"] { #expect(SwitchConverter().value(of: text) == false) }
        for text in ["", "yes", "2"] { #expect(SwitchConverter().value(of: text) == nil) }
    }

    @Test func listsDropBlanksAndEmptyItems() {
        let converter = ListConverter(IntegerConverter(0...9))
        #expect(converter.value(of: "") == [])
        #expect(converter.value(of: " 1, 2 ,,3") == [1, 2, 3])
        #expect(converter.value(of: "1,x") == nil)
    }

    @Test(arguments: [
        ("500ms", Duration.milliseconds(500)), ("30s", .seconds(30)), ("5m", .seconds(300)),
        ("24h", .seconds(86400)), ("0s", .zero), ("007s", .seconds(7)),
    ])
    func durationsCarryAUnit(_ text: String, _ duration: Duration) {
        #expect(DurationConverter(.zero ... .seconds(86400)).value(of: text) == duration)
    }

    @Test(arguments: [
        "", "30", "s", "30 s", "30S", "1.5s", "-1s", "1d", "1us", "1s1s", "9223372036854775807h", "3１s",
        "99999999999999999999s",
    ])
    func otherDurationsAreRefused(_ text: String) {
        #expect(DurationConverter(.zero ... .seconds(86400)).value(of: text) == nil)
    }

    @Test func durationsKeepToTheirRange() {
        let converter = DurationConverter(.seconds(1) ... .seconds(60))
        #expect(converter.value(of: "1s") != nil)
        #expect(converter.value(of: "1m") != nil)
        #expect(converter.value(of: "999ms") == nil)
        #expect(converter.value(of: "60001ms") == nil)
        #expect(converter.expected.hasPrefix("a duration from 1s to 1m "))
    }

    @Test func durationsPrintInTheirLargestWholeUnit() {
        #expect(Duration.zero.optionText == "0s")
        #expect(Duration.milliseconds(1500).optionText == "1500ms")
        #expect(Duration.seconds(90).optionText == "90s")
        #expect(Duration.seconds(7200).optionText == "2h")
    }

    @Test(arguments: [
        ("0B", 0), ("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("64KB", 64000),
        ("1MB", 1_000_000), ("2GB", 2_000_000_000),
    ])
    func sizesCarryAUnit(_ text: String, _ byteCount: Int) {
        #expect(ByteSizeConverter(0...Int.max).value(of: text) == byteCount)
    }

    @Test(arguments: ["", "64", "KiB", "64kib", "64K", "64 KiB", "1.5MiB", "-1B", "9223372036854775807KiB"])
    func otherSizesAreRefused(_ text: String) {
        #expect(ByteSizeConverter(0...Int.max).value(of: text) == nil)
    }

    @Test func sizesKeepToTheirRange() {
        let converter = ByteSizeConverter(1024...65536)
        #expect(converter.value(of: "1KiB") == 1024)
        #expect(converter.value(of: "64KiB") == 65536)
        #expect(converter.value(of: "1023B") == nil)
        #expect(converter.value(of: "65537B") == nil)
        #expect(converter.expected.hasPrefix("a size from 1KiB to 64KiB "))
    }

    @Test(arguments: [
        ("0.0.0.0:8080", "0.0.0.0", 8080), ("[::]:0", "::", 0),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("redis-1.example:6379", "redis-1.example", 6379), ("my_service:80", "my_service", 80),
        ("[fe80::1%eth0.7]:80", "fe80::1%eth0.7", 80), ("host.example.:80", "host.example.", 80),
    ])
    func endpointsAreParsedAndPrinted(_ text: String, _ host: String, _ port: Int) throws {
        let endpoint = try #require(EndpointConverter().value(of: text))
        #expect(endpoint.host == host)
        #expect(endpoint.port == port)
        #expect(endpoint.description == text)
    }

    @Test(arguments: [
        "", "8080", ":8080", "host", "host:", "host:65536", "host:-1", "host:+1", "host:8o", "::1:80",
        "[::1]",
        "[::1]80", "[1.2.3.4]:80", "[fe80::1%]:80", "[fe80::1%a/b]:80", ".:80", "a..:80", "[::g]:80",
        "1.2.3:80",
        "256.1.1.1:80", "-a:80", "a..b:80", "a b:80",
        "ä:80",
        "host:000080",
    ])
    func otherEndpointsAreRefused(_ text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test func portAloneIsAllAddressesToListenOn() throws {
        let endpoint = try #require(ListenConverter().value(of: ":8080"))
        #expect(endpoint.host.isEmpty && endpoint.port == 8080)
        #expect(endpoint.description == ":8080")
        #expect(ListenConverter().value(of: ":0")?.port == 0)
        #expect(ListenConverter().value(of: "[::1]:80") == Endpoint("[::1]:80"))
        for text in ["", ":", ":x", ":65536", "::80", ":-1", "::1:80", "8080"] {
            #expect(ListenConverter().value(of: text) == nil, "\(text)")
        }
    }
}

// An IP address as 16 bytes, an IPv4 address mapped into IPv6 (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so that
// one type compares, hashes and matches both families. Pure value, any thread.

import Glibc

/// An IPv4 or IPv6 address without a zone.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// The first and the last eight bytes, most significant byte first.
    package let high: UInt64
    package let low: UInt64

    /// An address from its halves: the first eight bytes and the last eight.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// An IPv4 address from its number in host byte order: 127.0.0.1 is `0x7F00_0001`.
    package init(v4 number: UInt32) {
        self.init(high: 0, low: Self.v4Marker | UInt64(number))
    }

    /// An address from its bytes in network order: 4 of IPv4 or 16 of IPv6.
    ///
    /// - Returns: nil for any other number of bytes.
    package init?(networkBytes bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4:
            self.init(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            self.init(
                high: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
                low: bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
        default:
            return nil
        }
    }

    /// Parses `192.0.2.1` (four decimal parts without leading zeros) or any RFC 4291 form of IPv6, without
    /// brackets, zone or prefix length (inet_pton(3)).
    ///
    /// - Returns: nil for anything else.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        // C reads a text only up to a NUL.
        guard !text.utf8.contains(0) else { return nil }
        let isV6 = text.utf8.contains(UInt8(ascii: ":"))
        let bytes = [UInt8](unsafeUninitializedCapacity: 16) { buffer, count in
            count = inet_pton(isV6 ? AF_INET6 : AF_INET, text, buffer.baseAddress) == 1 ? (isV6 ? 16 : 4) : 0
        }
        self.init(networkBytes: bytes)
    }

    /// Whether the address is IPv4 (mapped).
    package var isV4: Bool { high == 0 && low & Self.v4Mask == Self.v4Marker }

    /// Whether this stands for every address: `0.0.0.0` or `::`.
    package var isUnspecified: Bool { high == 0 && (low == 0 || low == Self.v4Marker) }

    /// `127.0.0.0/8` or `::1`.
    package var isLoopback: Bool { isV4 ? low >> 24 & 0xFF == 127 : high == 0 && low == 1 }

    /// The smallest unit of one subscriber: an IPv4 address, or the first address of an IPv6 network of 64
    /// bits, in which a host chooses its addresses itself (RFC 4291 2.5.4).
    package var subscriber: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }

    /// Dotted decimal for IPv4, otherwise the canonical text of RFC 5952.
    package var description: String {
        // inet_ntop(3) would write the end of these as IPv4, as was usual for a form that RFC 4291 2.5.5.1
        // gives up.
        if high == 0, low >> 16 != 0, low >> 32 == 0 {
            return "::" + String(low >> 16, radix: 16) + ":" + String(low & 0xFFFF, radix: 16)
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            var halves = (isV4 ? (low << 32).bigEndian : high.bigEndian, low.bigEndian)
            // Fails only for another family or a shorter text.
            inet_ntop(isV4 ? AF_INET : AF_INET6, &halves, text.baseAddress, socklen_t(text.count))
            return String(cString: text.baseAddress!)
        }
    }

    private static let v4Marker: UInt64 = 0x0000_FFFF_0000_0000
    private static let v4Mask: UInt64 = 0xFFFF_FFFF_0000_0000
}

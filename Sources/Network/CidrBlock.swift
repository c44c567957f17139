// A block of IP addresses, such as the network of the trusted proxies. Pure value, any thread.

import Bytes

/// An address and the number of leading bits that count.
package struct CidrBlock: Hashable, Sendable, CustomStringConvertible {
    /// The first address of the block: the bits behind the prefix are zero.
    package let base: IPAddress
    /// Leading bits that count, of the 128 of the mapped form: an IPv4 `/8` is 104.
    let prefixBitCount: Int

    /// Parses `10.0.0.0/8`, `2001:db8::/32` or a bare address, which is a block of one.
    ///
    /// Bits behind the prefix are cleared: `10.1.2.3/8` is `10.0.0.0/8`.
    /// - Returns: nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = String(text).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        // A mapped address written as IPv6 (::ffff:10.0.0.0/104) counts its prefix in 128 bits, as it is
        // written.
        let familyBitCount = parts[0].contains(":") ? 128 : 32
        var given = familyBitCount
        if parts.count == 2 {
            guard parts[1].utf8.count <= 3, let count = unsignedDecimal(parts[1]), count <= familyBitCount
            else { return nil }
            given = count
        }
        prefixBitCount = given + 128 - familyBitCount
        base = Self.masked(address, prefixBitCount)
    }

    /// Whether the address lies in the block. An IPv4 block holds IPv4 addresses however they were written.
    package func contains(_ address: IPAddress) -> Bool {
        Self.masked(address, prefixBitCount) == base
    }

    /// The block as it is written in an option: `10.0.0.0/8`.
    package var description: String {
        base.isV4 && prefixBitCount >= 96 ? "\(base)/\(prefixBitCount - 96)" : "\(base)/\(prefixBitCount)"
    }

    private static func masked(_ address: IPAddress, _ bitCount: Int) -> IPAddress {
        // A smart shift by 64 or more gives zero, so no case needs a branch.
        let highMask = ~(UInt64.max >> UInt64(min(bitCount, 64)))
        let lowMask = ~(UInt64.max >> UInt64(max(bitCount - 64, 0)))
        return IPAddress(high: address.high & highMask, low: address.low & lowMask)
    }
}

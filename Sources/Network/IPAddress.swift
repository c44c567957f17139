// An IP address as 16 bytes, an IPv4 address mapped into IPv6 (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so that one
// type compares, hashes and matches both families. Pure value, any thread.

import Bytes

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
    /// brackets, zone or prefix length.
    ///
    /// - Returns: nil for anything else.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        if text.utf8.contains(0x3A) {
            guard let groups = Self.parseGroups(text) else { return nil }
            self.init(
                high: groups[..<4].reduce(0) { $0 << 16 | UInt64($1) },
                low: groups[4...].reduce(0) { $0 << 16 | UInt64($1) })
        } else {
            guard let number = Self.parseV4(text[...]) else { return nil }
            self.init(v4: number)
        }
    }

    /// Whether the address is IPv4 (mapped).
    package var isV4: Bool { high == 0 && low & Self.v4Mask == Self.v4Marker }

    /// Whether this stands for every address: `0.0.0.0` or `::`.
    package var isUnspecified: Bool { high == 0 && (low == 0 || low == Self.v4Marker) }

    /// `127.0.0.0/8` or `::1`.
    package var isLoopback: Bool { isV4 ? low >> 24 & 0xFF == 127 : high == 0 && low == 1 }

    /// What one subscriber has at least: an IPv4 address, or the first address of an IPv6 network of 64 bits, in
    /// which a host chooses its addresses by itself (RFC 4291 2.5.4).
    package var subscriber: IPAddress { isV4 ? self : IPAddress(high: high, low: 0) }

    /// Dotted decimal for IPv4, otherwise the canonical text of RFC 5952.
    package var description: String {
        if isV4 {
            return [24, 16, 8, 0].map { String(low >> UInt64($0) & 0xFF) }.joined(separator: ".")
        }
        let groups = (0..<8).map { index -> UInt16 in
            let half = index < 4 ? high : low
            return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (index % 4)))
        }
        guard let zeros = Self.longestZeroRun(groups) else { return Self.text(of: groups[...]) }
        return Self.text(of: groups[..<zeros.lowerBound]) + "::" + Self.text(of: groups[zeros.upperBound...])
    }

    private static let v4Marker: UInt64 = 0x0000_FFFF_0000_0000
    private static let v4Mask: UInt64 = 0xFFFF_FFFF_0000_0000

    private static func text(of groups: ArraySlice<UInt16>) -> String {
        groups.map { String($0, radix: 16) }.joined(separator: ":")
    }

    /// The run that `::` stands for: the longest of two or more zero groups, the first of equals (RFC 5952
    /// 4.2).
    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int>? {
        var longest = 0..<0
        var start = 0
        for index in 0...groups.count {
            if index < groups.count && groups[index] == 0 { continue }
            if index - start > longest.count { longest = start..<index }
            start = index + 1
        }
        return longest.count >= 2 ? longest : nil
    }

    private static func parseV4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count), part == "0" || part.first != "0",
                let value = unsignedDecimal(part), value <= 255
            else { return nil }
            number = number << 8 | UInt32(value)
        }
        return number
    }

    /// The eight groups of an IPv6 text; `::` stands for at least one group of zeros, once.
    private static func parseGroups(_ text: String) -> [UInt16]? {
        guard let gap = firstDoubleColon(text) else {
            guard let groups = parseRun(text[...], allowsV4Tail: true), groups.count == 8 else { return nil }
            return groups
        }
        let afterGap = text.index(gap, offsetBy: 2)
        guard let head = parseRun(text[..<gap], allowsV4Tail: false),
            let tail = parseRun(text[afterGap...], allowsV4Tail: true), head.count + tail.count <= 7
        else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }

    private static func firstDoubleColon(_ text: String) -> String.Index? {
        zip(text.indices, text.indices.dropFirst()).first { text[$0] == ":" && text[$1] == ":" }?.0
    }

    /// Groups joined by single colons; the last may be an IPv4 address, which counts as two. An empty text
    /// has none.
    private static func parseRun(_ text: Substring, allowsV4Tail: Bool) -> [UInt16]? {
        if text.isEmpty { return [] }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if allowsV4Tail, index == parts.count - 1, part.contains(".") {
                guard let number = parseV4(part) else { return nil }
                groups += [UInt16(number >> 16), UInt16(truncatingIfNeeded: number)]
            } else {
                guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy(isHexDigit),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                groups.append(group)
            }
        }
        return groups
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }
}

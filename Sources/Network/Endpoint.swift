// A host and a port to listen on or to connect to. Pure value, any thread.

import Bytes

/// A host (IPv4, IPv6 without brackets, or a host name) and a TCP port.
package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    /// The host without brackets; empty for all addresses.
    package let host: String
    /// 0...65535; 0 lets the kernel choose when listening.
    package let port: Int

    /// What is wrong with a text that is no endpoint.
    package enum Fault: Error, Equatable, Sendable {
        case host, port
    }

    /// Parses `192.0.2.1:80`, `[2001:db8::1]:80` or `host.example:80`; an IPv6 address may have a zone
    /// (`[fe80::1%eth0]:80`), without which a link-local one means nothing.
    ///
    /// - Parameter defaultPort: for a text without a port; nil where the port must be given.
    /// - Throws: also for an IPv6 address without brackets.
    package init(parsing text: some StringProtocol, defaultPort: Int? = nil) throws(Fault) {
        let text = Substring(text)
        let isBracketed = text.hasPrefix("[")
        let hostEnd = text.firstIndex(of: isBracketed ? "]" : ":") ?? text.endIndex
        let host = text[..<hostEnd].dropFirst(isBracketed ? 1 : 0)
        let rest = text[hostEnd...].dropFirst(isBracketed ? 1 : 0)
        guard isBracketed ? hostEnd < text.endIndex && Self.isV6(host) : Self.isV4OrName(host),
            rest.isEmpty || rest.hasPrefix(":")
        else { throw .host }
        self.host = String(host)
        let portText = rest.dropFirst()
        guard let port = rest.isEmpty ? defaultPort : unsignedDecimal(portText), port <= 65535,
            portText.utf8.count <= 5
        else { throw .port }
        self.port = port
    }

    /// As above.
    ///
    /// - Returns: nil for a text that is no endpoint.
    package init?(_ text: some StringProtocol, defaultPort: Int? = nil) {
        do throws(Fault) {
            try self.init(parsing: text, defaultPort: defaultPort)
        } catch {
            return nil
        }
    }

    /// Whether the host is an address and no name.
    package var isAddress: Bool { host.contains(":") || IPAddress(host) != nil }

    /// All addresses of this machine, IPv6 and IPv4, to listen on.
    ///
    /// - Returns: nil unless the text is `:80`.
    package init?(allAddresses text: String) {
        // An address is put in front: which one does not matter.
        guard text.hasPrefix(":"), let endpoint = Endpoint("0.0.0.0" + text) else { return nil }
        host = ""
        port = endpoint.port
    }

    /// The form that `init` parses; of all addresses `:80`.
    package var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Labels of letters, digits, `-` and `_` joined by dots, 253 bytes at most (RFC 1123 2.1; `_` as in
    /// Docker's names), perhaps with a dot at the end, which keeps search domains out (RFC 1034 3.1). A name
    /// of digits and dots only is a mistyped IPv4 address, not a host.
    package static func isHostName(_ text: some StringProtocol) -> Bool {
        guard (1...253).contains(text.utf8.count) else { return false }
        let labels = (text.hasSuffix(".") ? text.dropLast() : text[...]).split(
            separator: ".", omittingEmptySubsequences: false)
        let areLabels = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy(isLabelByte)
        }
        return areLabels && !text.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) }
    }

    private static func isV4OrName(_ host: Substring) -> Bool {
        isHostName(host) || !host.contains(":") && IPAddress(host) != nil
    }

    private static func isV6(_ host: Substring) -> Bool {
        let parts = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        let isZone =
            parts.count < 2
            || !parts[1].isEmpty && parts[1].utf8.allSatisfy { isLabelByte($0) || $0 == 0x2E }
        return host.contains(":") && isZone && IPAddress(parts[0]) != nil
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
        default: false
        }
    }
}

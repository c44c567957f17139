// A host and a port to listen on or to connect to. Pure value, any thread.

import Bytes

/// A host (IPv4, IPv6 without brackets, or a host name) and a TCP port.
package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    /// The host without brackets; empty for all addresses.
    package let host: String
    /// 0...65535; 0 lets the kernel choose when listening.
    package let port: Int

    /// Parses `192.0.2.1:80`, `[2001:db8::1]:80` or `host.example:80`.
    ///
    /// - Returns: nil for anything else, an IPv6 address without brackets included.
    package init?(_ text: some StringProtocol) {
        let text = String(text)
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let portText = text[text.index(after: colon)...]
        guard portText.utf8.count <= 5, let port = unsignedDecimal(portText), port <= 65535 else {
            return nil
        }
        let hostText = text[..<colon]
        if hostText.hasPrefix("[") {
            guard hostText.hasSuffix("]"), hostText.contains(":") else { return nil }
            let inner = hostText.dropFirst().dropLast()
            guard IPAddress(inner) != nil else { return nil }
            host = String(inner)
        } else {
            guard IPAddress(hostText) != nil || Self.isHostName(hostText) else { return nil }
            guard !hostText.contains(":") else { return nil }
            host = String(hostText)
        }
        self.port = port
    }

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
    /// Docker's names). A name of digits and dots only is a mistyped IPv4 address, not a host.
    static func isHostName(_ text: some StringProtocol) -> Bool {
        guard (1...253).contains(text.utf8.count) else { return false }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        let areLabels = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy(isLabelByte)
        }
        return areLabels && !text.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) }
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
        default: false
        }
    }
}

// The names by which the admin listener may be asked. Pure.

import HTTP
import Network
import Options

/// The check against DNS rebinding: a page of any site can give its own name the address of this listener and then read
/// what it answers, but it cannot leave its name out of `Host`.
struct AdminHosts: Sendable, Equatable {
    /// Beside any address, which no page can take for a name of its own.
    private static let always = "localhost"

    /// In lower case.
    private let names: Set<String>

    init(_ names: [String] = []) {
        self.names = Set(names.map { $0.lowercased() }).union([AdminHosts.always])
    }

    /// A comma-separated list of names, which may be empty.
    static let converter = TextConverter(expected: "a comma-separated list of host names without ports") {
        text -> AdminHosts? in
        ListConverter(TextConverter(expected: "") { isName($0) ? $0 : nil }).value(of: text).map { AdminHosts($0) }
    }

    /// Whether `request` names an address, `localhost` or one of the names. No browser leaves `Host` out.
    func allow(_ request: HttpRequestHead) -> Bool {
        guard let host = request.fields.value(of: "Host") else { return true }
        guard let name = AdminHosts.withoutPort(host) else { return false }
        return IPAddress(name) != nil || names.contains(name.lowercased())
    }

    /// `a.example:9090` and `[::1]:9090` without port and brackets; nil when that is not the form.
    private static func withoutPort(_ host: String) -> Substring? {
        let name: Substring
        let rest: Substring
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            name = host[..<end].dropFirst()
            rest = host[end...].dropFirst()
            guard name.contains(":") else { return nil }
        } else {
            let colon = host.firstIndex(of: ":") ?? host.endIndex
            name = host[..<colon]
            rest = host[colon...]
        }
        let isPort = rest.first == ":" && rest.dropFirst().utf8.allSatisfy { (0x30...0x39).contains($0) }
        return (rest.isEmpty || isPort) && !name.isEmpty ? name : nil
    }

    private static func isName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
                default: false
                }
            }
    }
}

// The names by which the admin listener may be asked. Pure.

import HTTP
import Network
import Options

/// The check against DNS rebinding: a page of any site can give its own name the address of this listener
/// and then read what it answers, but it cannot leave its name out of `Host`.
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
        ListConverter(TextConverter(expected: "") { Endpoint.isHostName($0) ? $0 : nil }).value(of: text).map
        {
            AdminHosts($0)
        }
    }

    /// Whether `request` names an address, `localhost` or one of the names. No browser leaves `Host` out.
    func allow(_ request: HttpRequestHead) -> Bool {
        guard let host = request.fields.value(of: "Host") else { return true }
        // A port may be empty (RFC 3986 3.2.3).
        guard let name = Endpoint(host.hasSuffix(":") ? host.dropLast() : host[...], defaultPort: 80)?.host
        else {
            return false
        }
        return IPAddress(name) != nil || names.contains(name.lowercased())
    }
}

// What the system's resolver says of a host name. Any thread; may block it for seconds.

import Glibc

enum HostAddresses {
    /// Addresses of one name that are tried; the resolver may know hundreds.
    private static let maximumAddressCount = 8

    /// Whether `host` is an address as it stands, so that nothing need be asked. Does not block.
    static func isNumeric(_ host: String) -> Bool {
        !lookUp(host, flags: AI_NUMERICHOST).isEmpty
    }

    /// All addresses, IPv4 first: a name with both is more often reachable so inside container networks.
    static func lookUp(_ host: String, flags: Int32 = 0) -> [String] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        let found = sequence(first: list) { $0?.pointee.ai_next }.prefix { $0 != nil }.compactMap {
            $0?.pointee
        }
        let sorted = found.filter { $0.ai_family == AF_INET } + found.filter { $0.ai_family != AF_INET }
        var addresses: [String] = []
        for address in sorted.lazy.compactMap(text) where !addresses.contains(address) {
            addresses.append(address)
        }
        return Array(addresses.prefix(maximumAddressCount))
    }

    private static func text(_ address: addrinfo) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST)) { text in
            let result = getnameinfo(
                address.ai_addr, address.ai_addrlen, text.baseAddress, socklen_t(text.count), nil, 0,
                NI_NUMERICHOST)
            return result == 0 ? String(cString: text.baseAddress!) : nil
        }
    }
}

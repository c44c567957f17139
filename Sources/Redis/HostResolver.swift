// Name resolution off the loop: getaddrinfo blocks, for seconds when a name server is away.

import EventLoop
import Glibc

/// Resolves a host name on a thread of its own and posts the result.
enum HostResolver {
    /// A numeric address, or the resolver's message.
    typealias Outcome = Result<String, RedisFailure>

    /// Whether `host` is an address as it stands, so that nothing need be asked.
    static func isNumeric(_ host: String) -> Bool {
        lookUp(host, flags: AI_NUMERICHOST) != nil
    }

    /// Starts a look-up whose outcome comes to `mailbox`, tagged with `attempt`.
    static func resolve(_ host: String, attempt: Int, to mailbox: Mailbox<(Int, Outcome)>) {
        do {
            try DetachedThread.run {
                let address = lookUp(host, flags: 0)
                mailbox.post((attempt, address.map { .success($0) } ?? unknown(host)))
            }
        } catch {
            mailbox.post((attempt, .failure(.unavailable("\(error)"))))
        }
    }

    private static func unknown(_ host: String) -> Outcome {
        .failure(.unavailable("cannot resolve host name \(host)"))
    }

    private static func lookUp(_ host: String, flags: Int32) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0, let first = list else { return nil }
        defer { freeaddrinfo(list) }
        // IPv4 first: a name with both is more often reachable so inside container networks.
        var chosen = first
        var next: UnsafeMutablePointer<addrinfo>? = first
        while let candidate = next {
            if candidate.pointee.ai_family == AF_INET {
                chosen = candidate
                break
            }
            next = candidate.pointee.ai_next
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST)) { text in
            let result = getnameinfo(
                chosen.pointee.ai_addr, chosen.pointee.ai_addrlen, text.baseAddress, socklen_t(text.count),
                nil, 0, NI_NUMERICHOST)
            return result == 0 ? String(cString: text.baseAddress!) : nil
        }
    }
}

// Whether a test can make a peer silent: by a socket filter that drops whatever comes, acknowledgements
// included.
import Glibc
import Testing

enum SocketFilter {
    static let advice: Comment = "attaching a filter to a socket is forbidden here: it needs CAP_NET_ADMIN"

    /// Tries it on a socket of its own. Any process may do this on most systems, but not in every sandbox.
    static let isPermitted: Bool = {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // One instruction (struct sock_filter, linux/filter.h): BPF_RET | BPF_K, drop.
        var program: (code: UInt16, jumpTrue: UInt8, jumpFalse: UInt8, k: UInt32) = (6, 0, 0, 0)
        return withUnsafeMutablePointer(to: &program) { instructions in
            var filter = (count: UInt16(1), instructions: UnsafeMutableRawPointer(instructions))
            // SO_ATTACH_FILTER, asm-generic/socket.h
            return setsockopt(
                descriptor, SOL_SOCKET, 26, &filter, socklen_t(MemoryLayout.size(ofValue: filter))) == 0
        }
    }()
}

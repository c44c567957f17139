// Files that the kernel makes up when they are read, such as those of /proc and of control groups. Any
// thread.

import Glibc

/// Reads whole files that have no size of their own.
package enum SmallFile {
    /// The text of a file; nil when it cannot be read.
    ///
    /// - Parameter maximumBytes: what is beyond is cut off.
    package static func text(of path: String, maximumBytes: Int = 16 << 10) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: maximumBytes) { buffer, length in
            while length < buffer.count {
                let count = read(descriptor, buffer.baseAddress! + length, buffer.count - length)
                if count < 0 && errno == EINTR { continue }
                if count < 0 { code = errno }
                guard count > 0 else { break }
                length += count
            }
        }
        return code == 0 ? String(decoding: bytes, as: UTF8.self) : nil
    }
}

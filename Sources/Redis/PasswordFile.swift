// A password in a file, which somebody else may replace at any time: a token of a cloud service, a secret that is
// rotated. Any thread.

import EventLoop
import Glibc
import Synchronization

/// Read at every login, and looked at while a connection stands.
package final class PasswordFile: Sendable {
    /// The tokens of cloud services have a few KB.
    static let maximumBytes = 64 << 10
    /// A changed file is noticed within this time.
    static let checkInterval = Duration.seconds(5)

    package let path: String
    private let lineFeedDropped = Atomic<Bool>(false)

    init(path: String) { self.path = path }

    /// Whether a line feed at the end of the file was left out: no password has one, and nearly every way to write
    /// a file adds one.
    package var hasDroppedLineFeed: Bool { lineFeedDropped.load(ordering: .relaxed) }

    /// The password as it is now.
    ///
    /// - Throws: `unavailable` with the path, if the file is missing, empty or too long.
    func read() throws(RedisFailure) -> String {
        var bytes = try contents()
        if bytes.last == 0x0A {
            bytes.removeLast()
            if bytes.last == 0x0D { bytes.removeLast() }
            lineFeedDropped.store(true, ordering: .relaxed)
        }
        guard !bytes.isEmpty else { throw .unavailable("the password file \(path) is empty") }
        guard let password = String(validating: bytes, as: UTF8.self) else {
            throw .unavailable("the password file \(path) is not UTF-8")
        }
        return password
    }

    private func contents() throws(RedisFailure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(errno) }
        defer { close(descriptor) }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: PasswordFile.maximumBytes + 1) { buffer, length in
            while length < buffer.count {
                let count = Glibc.read(descriptor, buffer.baseAddress! + length, buffer.count - length)
                if count < 0 && errno == EINTR { continue }
                if count < 0 { code = errno }
                guard count > 0 else { break }
                length += count
            }
        }
        guard code == 0 else { throw failure(code) }
        guard bytes.count <= PasswordFile.maximumBytes else {
            throw .unavailable("the password file \(path) is longer than \(PasswordFile.maximumBytes) bytes")
        }
        return bytes
    }

    private func failure(_ code: Int32) -> RedisFailure {
        .unavailable("cannot read the password file \(path): \(SystemError.message(of: code))")
    }
}

extension PasswordFile: Equatable {
    package static func == (left: PasswordFile, right: PasswordFile) -> Bool { left.path == right.path }
}

// The file, or stdin, that notices are read from, a chunk at a time.

import Glibc

/// An open input.
final class InputFile {
    /// The operating system's text for a failed call.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ code: Int32) { description = String(cString: strerror(code)) }
    }

    /// What a read brought.
    enum Chunk: Equatable {
        /// Empty at the end of the input.
        case bytes([UInt8])
        case interrupted
    }

    /// A read of this size costs nothing per line and keeps memory small.
    private static let chunkBytes = 64 << 10

    /// Closed in `deinit` unless it is stdin.
    private let descriptor: Int32
    private(set) var readBytes = 0

    /// - Parameter path: `-` is stdin.
    /// - Throws: `Failure` when the file cannot be opened or is a directory.
    init(path: String) throws(Failure) {
        descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(errno) }
        guard case .success(let status) = fileStatus() else { throw Failure(EBADF) }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw Failure(EISDIR) }
    }

    deinit {
        if descriptor > STDIN_FILENO { close(descriptor) }
    }

    /// Bytes from here to the end of a regular file; nil for a pipe or a terminal.
    var remainingBytes: Int? {
        guard case .success(let status) = fileStatus(), status.st_mode & S_IFMT == S_IFREG else {
            return nil
        }
        let position = lseek(descriptor, 0, SEEK_CUR)
        return position < 0 ? nil : max(0, Int(status.st_size) - position)
    }

    /// Whether a read would return at once.
    var isReady: Bool { Interruption.wait(forReadable: descriptor, timeout: .zero) }

    /// Waits for the next bytes.
    ///
    /// - Throws: `Failure` when reading fails.
    func read() throws(Failure) -> Chunk {
        guard Interruption.wait(forReadable: descriptor, timeout: nil) else { return .interrupted }
        while true {
            var code: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunkBytes) { buffer, count in
                let result = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                code = result < 0 ? errno : 0
                count = max(result, 0)
            }
            if code == EINTR || code == EAGAIN {
                guard Interruption.wait(forReadable: descriptor, timeout: nil) else { return .interrupted }
                continue
            }
            guard code == 0 else { throw Failure(code) }
            readBytes += bytes.count
            return .bytes(bytes)
        }
    }

    /// Everything to the end, or nil when there are more bytes than `maximumBytes`.
    ///
    /// - Throws: `Failure` when reading fails.
    func readAll(maximumBytes: Int) throws(Failure) -> Chunk? {
        var all: [UInt8] = []
        while case .bytes(let bytes) = try read() {
            if bytes.isEmpty { return .bytes(all) }
            all += bytes
            if all.count > maximumBytes { return nil }
        }
        return .interrupted
    }

    private func fileStatus() -> Result<stat, Failure> {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? .success(status) : .failure(Failure(errno))
    }
}

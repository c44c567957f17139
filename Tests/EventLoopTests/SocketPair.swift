// Reading, writing and watching the sockets of a test.

@testable import EventLoop

func write(_ text: String, to socket: Socket) -> Socket.Transfer {
    Array(text.utf8).withUnsafeBytes { socket.write($0) }
}

/// What one read brings.
func read(_ socket: Socket) -> (Socket.Transfer, String) {
    withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 1) { buffer in
        let transfer = socket.read(into: buffer)
        guard case .bytes(let count) = transfer else { return (transfer, "") }
        return (transfer, String(decoding: buffer[..<count], as: UTF8.self))
    }
}

/// A watcher whose callbacks are a test's.
final class TestWatcher: SocketWatcher {
    var onReadable: () -> Void = {}
    var onWritable: () -> Void = {}

    override func socketIsReadable() { onReadable() }
    override func socketIsWritable() { onWritable() }

    /// Forgets and closes the socket.
    func end() {
        stopWatching()
        socket.close()
    }
}

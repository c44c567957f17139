// What can be read beside Redis: the keys of a terminal, the pipe of signals. Loop-confined.

import EventLoop

/// Calls back for as long as a descriptor can be read.
final class DescriptorWatcher: SocketWatcher {
    private let onReadable: () -> Void

    /// - Parameter descriptor: of a pipe or a terminal; it stays the caller's.
    init(_ descriptor: Int32, on loop: EventLoop, onReadable: @escaping () -> Void) {
        self.onReadable = onReadable
        super.init(socket: Socket(descriptor: descriptor), loop: loop)
    }

    deinit { stopWatching() }

    override func socketIsReadable() { onReadable() }
}

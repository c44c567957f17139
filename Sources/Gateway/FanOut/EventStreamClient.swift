// A member over an event stream, the endless answer to a request. Loop-confined: belongs to its worker's
// loop.

import EventLoop

/// An event stream (`text/event-stream`). Its client has nothing to say: what comes behind the request is
/// read, in shares, and dropped, so that the end of the connection is noticed. The end of the client's side is
/// the end of both: a browser that leaves cannot be told from a client that only stops to send.
final class EventStreamClient: Member {
    override class var peerSide: MemberState.PeerSide { .mute }

    override func goodbye(_ reason: CloseReason) -> SharedBytes { EventBlock.close(reason) }

    /// While something waits for the peer, the connection is not silent.
    override func ping() {
        if hasNoBacklog { send(EventBlock.keepAlive) }
    }

    override func socketIsReadable() {
        let buffer = UnsafeMutableRawBufferPointer(rebasing: host.readBuffer[..<Limits.clientReadBytes])
        switch socket.read(into: buffer) {
        case .bytes, .wouldBlock: break
        case .endOfStream, .failed: connectionEnded()
        }
    }
}

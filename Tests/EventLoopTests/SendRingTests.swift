import Glibc
import TestSupport
import Testing

@testable import EventLoop

/// Whether this kernel lets the tests use io_uring; where it does not, gateways write one by one, which the
/// other tests cover.
private let ringIsAllowed: Bool = (try? SendRing()) != nil

@Suite(.enabled(if: ringIsAllowed, "io_uring is not allowed here")) struct SendRingTests {
    private func submit(_ ring: SendRing) -> (taken: Int, incomplete: [Int: Socket.Transfer]) {
        var incomplete: [Int: Socket.Transfer] = [:]
        let taken = ring.submit { incomplete[$0] = $1 }
        return (taken, incomplete)
    }

    /// Three times the ring's size, so that its indices wrap.
    @Test func sendsReachTheirSocketsInOrder() throws {
        let ring = try SendRing()
        let pairs = try (0..<3).map { _ in try socketPair() }
        defer {
            for pair in pairs {
                pair.0.close()
                pair.1.close()
            }
        }
        var expected = ["", "", ""]
        let texts = (0..<3 * SendRing.capacity).map { Array("\($0),".utf8) }
        for (number, text) in texts.enumerated() {
            text.withUnsafeBytes { ring.append($0, to: pairs[number % 3].0) }
            expected[number % 3] += "\(number),"
            if ring.isFull || number == texts.count - 1 {
                let gathered = ring.count
                let outcome = submit(ring)
                #expect(outcome.taken == gathered)
                #expect(outcome.incomplete.isEmpty)
                #expect(ring.count == 0)
            }
        }
        for (pair, text) in zip(pairs, expected) { #expect(read(pair.1).1 == text) }
    }

    @Test func whatIsNotDoneWholeIsReported() throws {
        let ring = try SendRing()
        let (full, fullPeer) = try socketPair()
        let (fine, finePeer) = try socketPair()
        let (gone, gonePeer) = try socketPair()
        gonePeer.close()
        let large = [UInt8](repeating: 1, count: 8 << 20)
        let small = Array("x".utf8)
        large.withUnsafeBytes { large in
            small.withUnsafeBytes { small in
                ring.append(small, to: fine)
                ring.append(large, to: full)
                ring.append(large, to: full)
                ring.append(small, to: gone)
                ring.append(small, to: fine)
                let outcome = submit(ring)
                #expect(outcome.taken == 5)
                #expect(Set(outcome.incomplete.keys) == [1, 2, 3])
                guard case .bytes(let count) = outcome.incomplete[1] else {
                    Issue.record("a part fits: \(String(describing: outcome.incomplete[1]))")
                    return
                }
                #expect((1..<large.count).contains(count))
                #expect(outcome.incomplete[2] == .wouldBlock)
                #expect(outcome.incomplete[3] == .failed(EPIPE))
            }
        }
        #expect(read(finePeer).1 == "xx")
        for socket in [full, fullPeer, fine, finePeer, gone] { socket.close() }
    }

    /// Another file takes the place of the ring's: the kernel refuses, and what was not tried is told.
    @Test func ringThatIsRefusedSaysSo() throws {
        let ring = try SendRing()
        let (socket, peer) = try socketPair()
        let other = open("/dev/null", O_RDWR)
        try #require(dup2(other, ring.descriptor) == ring.descriptor)
        close(other)
        let small = Array("x".utf8)
        small.withUnsafeBytes { ring.append($0, to: socket) }
        let outcome = submit(ring)
        #expect(outcome.taken == 0)
        #expect(outcome.incomplete.isEmpty)
        #expect(read(peer).0 == .wouldBlock)
        socket.close()
        peer.close()
    }
}

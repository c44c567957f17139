import Glibc
import TestSupport
import Testing

@testable import Gateway

/// A peer that takes a given number of bytes with each gathering write.
private struct Peer {
    var received: [UInt8] = []

    /// Lets the queue write up to `limit` bytes; returns how many it wrote.
    mutating func take(_ limit: Int, from queue: OutboundQueue) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Limits.backlogVectorCount) { vectors in
            let count = queue.gather(into: vectors)
            var left = limit
            for vector in vectors[..<count] {
                let bytes = UnsafeRawBufferPointer(start: vector.iov_base, count: min(left, vector.iov_len))
                received += bytes
                left -= bytes.count
            }
            queue.consume(limit - left)
            return limit - left
        }
    }
}

@Suite struct OutboundQueueTests {
    /// Frames of these sizes, every byte of which tells its place in the stream.
    private func frames(_ sizes: [Int]) -> (frames: [SharedBytes], stream: [UInt8]) {
        let stream = (0..<sizes.reduce(0, +)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        var offset = 0
        let frames = sizes.map { size in
            defer { offset += size }
            return SharedBytes.copying(Array(stream[offset..<offset + size]))
        }
        return (frames, stream)
    }

    private func queue(_ frames: [SharedBytes], writtenBytes: Int = 0) -> OutboundQueue {
        let queue = OutboundQueue()
        for (index, frame) in frames.enumerated() {
            queue.append(frame, writtenBytes: index == 0 ? writtenBytes : 0)
        }
        return queue
    }

    @Test(arguments: [[1], [5], [1, 1, 1], [3, 1, 4, 2], [7, 2], [2, 7], [1, 6, 1]])
    func everySplitOfTheStreamWritesTheSame(sizes: [Int]) {
        let (frames, stream) = frames(sizes)
        // Each bit says whether a write ends behind that byte.
        for cuts in 0..<(1 << (stream.count - 1)) {
            let queue = queue(frames)
            var peer = Peer()
            var length = 0
            for offset in stream.indices {
                length += 1
                guard offset == stream.count - 1 || cuts >> offset & 1 == 1 else { continue }
                #expect(peer.take(length, from: queue) == length)
                length = 0
                #expect(queue.byteCount == stream.count - offset - 1)
            }
            #expect(peer.received == stream)
            #expect(queue.isEmpty)
        }
    }

    @Test func firstFrameMayBePartlyWrittenAtEveryByte() {
        let (frames, stream) = frames([9, 4])
        for writtenBytes in 0..<9 {
            let queue = queue(frames, writtenBytes: writtenBytes)
            #expect(queue.byteCount == stream.count - writtenBytes)
            var peer = Peer()
            #expect(peer.take(1_000, from: queue) == stream.count - writtenBytes)
            #expect(peer.received == Array(stream[writtenBytes...]))
            #expect(queue.isEmpty)
        }
    }

    @Test func oneWriteTakesAtMostSoManyFrames() {
        let limit = Limits.backlogVectorCount
        for count in [limit - 1, limit, limit + 1, 3 * limit + 5] {
            let (frames, stream) = frames(Array(repeating: 3, count: count))
            let queue = queue(frames)
            var peer = Peer()
            #expect(peer.take(.max / 2, from: queue) == min(count, limit) * 3)
            #expect(queue.byteCount == max(0, count - limit) * 3)
            while !queue.isEmpty { _ = peer.take(.max / 2, from: queue) }
            #expect(peer.received == stream)
        }
    }

    @Test func nothingWrittenChangesNothing() {
        let (frames, stream) = frames([4, 4])
        let queue = queue(frames, writtenBytes: 1)
        queue.consume(0)
        #expect(queue.byteCount == 7)
        var peer = Peer()
        _ = peer.take(100, from: queue)
        #expect(peer.received == Array(stream[1...]))
    }

    @Test func emptyQueueGathersNothing() {
        let queue = OutboundQueue()
        var peer = Peer()
        #expect(queue.isEmpty)
        #expect(peer.take(10, from: queue) == 0)
        queue.dropUnbegun()
        #expect(queue.isEmpty)
        #expect(peer.take(10, from: queue) == 0)
    }

    @Test func droppingKeepsOnlyTheRestOfABegunFrame() {
        for written in 0..<12 {
            let (frames, stream) = frames([4, 4, 4])
            let queue = queue(frames)
            var peer = Peer()
            #expect(peer.take(written, from: queue) == written)
            queue.dropUnbegun()
            let end = (written + 3) / 4 * 4
            #expect(queue.byteCount == end - written, "after \(written) bytes")
            let goodbye = SharedBytes.copying([0xFE, 0xFD])
            queue.append(goodbye)
            _ = peer.take(1_000, from: queue)
            #expect(peer.received == Array(stream[..<end]) + [0xFE, 0xFD], "after \(written) bytes")
            #expect(queue.isEmpty)
        }
    }

    @Test func droppingKeepsAFrameThatWasBegunBeforeItWasQueued() {
        let (frames, stream) = frames([6, 5])
        let queue = queue(frames, writtenBytes: 2)
        queue.dropUnbegun()
        #expect(queue.byteCount == 4)
        var peer = Peer()
        _ = peer.take(1_000, from: queue)
        #expect(peer.received == Array(stream[2..<6]))
    }

    @Test func framesAreLetGoOfWhenTheyAreWritten() {
        weak var first: SharedBytes?
        let queue = OutboundQueue()
        do {
            let frame = SharedBytes.copying([1, 2, 3])
            first = frame
            queue.append(frame)
        }
        #expect(first != nil)
        queue.consume(3)
        #expect(first == nil)
    }

    @Test func everyFrameIsLetGoOfWhenItIsWrittenHoweverLongTheQueue() {
        final class Weak { weak var frame: SharedBytes? }
        let queue = OutboundQueue()
        let frames = (0..<1_000).map { _ in
            let reference = Weak()
            let frame = SharedBytes.copying([1, 2, 3])
            reference.frame = frame
            queue.append(frame)
            return reference
        }
        for written in 1...1_000 {
            queue.consume(3)
            #expect(frames[written - 1].frame == nil)
            #expect(written == 1_000 || frames[written].frame != nil)
            #expect(queue.memoryBytes == (1_000 - written) * (3 + SharedBytes.overheadBytes))
        }
    }

    /// What a frame takes beside its bytes counts until it is gone: bytes alone would let tiny frames take
    /// anything.
    @Test func memoryIsThatOfWholeFrames() {
        let (frames, _) = frames([4, 4, 4])
        let whole = 4 + SharedBytes.overheadBytes
        let queue = queue(frames, writtenBytes: 1)
        #expect(queue.memoryBytes == 3 * whole)
        queue.consume(2)
        #expect(queue.memoryBytes == 3 * whole)
        queue.consume(1)
        #expect(queue.memoryBytes == 2 * whole)
        queue.consume(1)
        queue.dropUnbegun()
        #expect(queue.memoryBytes == whole)
        queue.consume(3)
        #expect(queue.memoryBytes == 0)
    }

    @Test func oneWriteTakesAtMostSoManyBytes() {
        let limit = Limits.backlogWriteBytes
        let (frames, stream) = frames([10, limit - 5, limit + 7, 3])
        let queue = queue(frames)
        var peer = Peer()
        #expect(peer.take(.max / 2, from: queue) == limit)
        #expect(peer.take(.max / 2, from: queue) == limit)
        #expect(peer.take(.max / 2, from: queue) == 15)
        #expect(queue.isEmpty)
        #expect(peer.received == stream)
    }

    // MARK: Pongs

    private func pong(_ byte: UInt8, count: Int = 1) -> SharedBytes {
        .copying(TestPeer.answer(.pong, [UInt8](repeating: byte, count: count)))
    }

    @Test func pongThatWaitsIsReplacedInItsPlace() {
        let (frames, stream) = frames([5, 6])
        let queue = queue([frames[0]])
        queue.setPong(pong(1, count: 9))
        queue.append(frames[1])
        for byte in 2...200 { queue.setPong(pong(UInt8(byte))) }
        #expect(queue.byteCount == 5 + 3 + 6)
        #expect(queue.memoryBytes == 14 + 3 * SharedBytes.overheadBytes)
        var peer = Peer()
        _ = peer.take(1_000, from: queue)
        #expect(peer.received == Array(stream[..<5]) + TestPeer.answer(.pong, [200]) + Array(stream[5...]))
    }

    /// At each byte: one that has begun to leave is completed, and the next one comes behind it.
    @Test(arguments: 0...9) func pongThatHasBegunIsCompleted(written: Int) {
        let (frames, stream) = frames([5])
        let queue = queue(frames)
        queue.setPong(pong(1))
        var peer = Peer()
        _ = peer.take(written, from: queue)
        queue.setPong(pong(2))
        _ = peer.take(1_000, from: queue)
        let isFirstReplaced = written <= 5
        let first = isFirstReplaced ? [] : TestPeer.answer(.pong, [1])
        #expect(peer.received == stream + first + TestPeer.answer(.pong, [2]), "after \(written) bytes")
        #expect(queue.isEmpty && queue.memoryBytes == 0)
    }

    @Test func pongIsFoundAgainWhenTheQueueHasBeenCompacted() {
        let (frames, stream) = frames(Array(repeating: 3, count: 300))
        let queue = queue(Array(frames[..<250]))
        queue.setPong(pong(1))
        for frame in frames[250...] { queue.append(frame) }
        var peer = Peer()
        while peer.received.count < 220 * 3 { _ = peer.take(9, from: queue) }
        queue.setPong(pong(2))
        while !queue.isEmpty { _ = peer.take(1_000, from: queue) }
        #expect(peer.received == Array(stream[..<750]) + TestPeer.answer(.pong, [2]) + Array(stream[750...]))
        queue.setPong(pong(3))
        queue.dropUnbegun()
        queue.setPong(pong(4))
        _ = peer.take(1_000, from: queue)
        #expect(peer.received.suffix(3) == TestPeer.answer(.pong, [4])[...])
    }

    // MARK: Many clients

    /// Ten thousand clients with the same backlog hold one copy of its bytes.
    @Test func backlogOfManyClientsIsHeldOnce() throws {
        let payload = [UInt8](repeating: 0x78, count: 10_000)
        var frames = (0..<20).map { _ in textFrame(payload) }
        let addresses = frames.map(\.bytes.baseAddress)
        let queues = (0..<10_000).map { _ in OutboundQueue() }
        for queue in queues {
            for frame in frames { queue.append(frame) }
        }
        #expect(queues.reduce(0) { $0 + $1.byteCount } > 2_000_000_000)
        let sharing = queues.filter { queue in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: Limits.backlogVectorCount) { vectors in
                let count = queue.gather(into: vectors)
                return vectors[..<count].map { UnsafeRawPointer($0.iov_base) } == addresses
            }
        }
        #expect(sharing.count == queues.count)
        // The queues' own references are the only ones: with the last of them the bytes go.
        weak let last = frames.last
        frames = []
        for queue in queues.dropLast() { queue.consume(queue.byteCount) }
        #expect(last != nil)
        queues[9_999].consume(queues[9_999].byteCount)
        #expect(last == nil)
    }

    /// Appends, writes and drops at random, against a plain list of bytes that are still owed.
    @Test(arguments: SeededRandom.seeds)
    func randomUseAgreesWithAListOfBytes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let queue = OutboundQueue()
        var peer = Peer()
        var owed: [[UInt8]] = []
        var expected: [UInt8] = []
        var isBegun = false
        for step in 0..<4_000 {
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<55:
                let bytes = random.bytes(Int.random(in: 1...40, using: &random))
                let written = owed.isEmpty ? Int.random(in: 0..<bytes.count, using: &random) : 0
                if owed.isEmpty { isBegun = written > 0 }
                queue.append(SharedBytes.copying(bytes), writtenBytes: written)
                owed.append(Array(bytes[written...]))
            case 55..<97:
                var left = peer.take(Int.random(in: 0...120, using: &random), from: queue)
                while left > 0 {
                    let count = min(left, owed[0].count)
                    expected += owed[0][..<count]
                    owed[0].removeFirst(count)
                    isBegun = !owed[0].isEmpty
                    if owed[0].isEmpty { owed.removeFirst() }
                    left -= count
                }
            default:
                queue.dropUnbegun()
                owed = isBegun ? Array(owed.prefix(1)) : []
            }
            let isRight =
                queue.byteCount == owed.reduce(0) { $0 + $1.count } && queue.isEmpty == owed.isEmpty
            #expect(isRight, "seed \(seed), step \(step)")
            if !isRight { return }
        }
        #expect(peer.received == expected, "seed \(seed)")
    }
}

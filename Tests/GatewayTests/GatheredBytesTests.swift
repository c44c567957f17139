import TestSupport
import Testing

@testable import Gateway

@Suite struct GatheredBytesTests {
    /// More runs than one call takes, to sockets that take all of them, or a part.
    @Test(arguments: [0, 1, Limits.mergedVectorCount, 2 * Limits.mergedVectorCount + 3], [Int32(0), 4096])
    func everyRunArrivesOnceAndInOrder(count: Int, bufferBytes: Int32) throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", bufferBytes: bufferBytes)
        var expected: [UInt8] = []
        // Twice: without a backlog, and perhaps with one.
        for round in 0..<2 {
            let runs = (0..<count).map { Array("\(round)/\($0) ".utf8) }
            expected += runs.joined()
            peer.client.send(runs.map { SharedBytes.copying($0) })
        }
        try rig.awaitBytes([(peer, expected.count)])
        #expect(peer.received == expected)
        #expect(rig.worker.turn.queueBytes == 0)
        #expect(rig.worker.turn.writtenBytes == expected.count)
    }
}

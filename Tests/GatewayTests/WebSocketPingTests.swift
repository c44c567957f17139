// Pings of ours, and their answers.

import EventLoop
import RedisSchema
import Testing
import WebSocket

@testable import Gateway

@Suite struct WebSocketPingTests {
    @Test func silentClientIsPingedAfterTheInterval() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a")
        let now = MonotonicInstant.now
        peer.client.beginDeadlines(now)
        peer.client.lookAtDeadlines(now + .milliseconds(24_900))
        peer.read()
        #expect(peer.received.isEmpty)
        peer.client.lookAtDeadlines(now + .milliseconds(25_100))
        peer.read()
        #expect(peer.received == TestPeer.answer(.ping, []))
        #expect(rig.worker.metrics.pings.value == 1)
    }

    @Test func messageOfEitherRoomPutsThePingOff() throws {
        for name in ["a", "b"] {
            let rig = try WorkerRig()
            let peer = try rig.connect("a", "b")
            let now = MonotonicInstant.now
            peer.client.beginDeadlines(now + .seconds(-20))
            rig.worker.rooms.deliver(message([0x31], in: RoomId(name)!))
            rig.worker.turn.flush()
            peer.client.lookAtDeadlines(now + .seconds(6))
            peer.read()
            #expect(peer.received == [0x81, 1, 0x31])
            peer.client.lookAtDeadlines(now + .seconds(32))
            peer.read()
            #expect(peer.received == [0x81, 1, 0x31] + TestPeer.answer(.ping, []))
        }
    }

    @Test func withoutAnIntervalNoPingIsSent() throws {
        let rig = try WorkerRig("--ping-interval", "off")
        let peer = try rig.connect("a")
        peer.client.lookAtDeadlines(.now + .seconds(29))
        peer.read()
        #expect(peer.received.isEmpty)
    }

    @Test func clientWithABacklogIsNotPinged() throws {
        let rig = try WorkerRig()
        let peer = try rig.connect("a", bufferBytes: 4096)
        peer.client.send(textFrame([UInt8](repeating: 0x61, count: 100_000)))
        let queued = rig.worker.turn.queueBytes
        #expect(queued > 0)
        peer.client.ping()
        #expect(rig.worker.turn.queueBytes == queued)
        #expect(rig.worker.metrics.pings.value == 0)
    }
}

// Pings of ours, and their answers.

import EventLoop
import RedisSchema
import Testing
import WebSocket

@testable import Gateway

@Suite struct WebSocketPingTests {
    private let beat = [UInt8]("beat".utf8)
    private let inPongMode = ["--heartbeat", "pong"]

    private func pongCount(_ rig: WorkerRig) -> UInt64 { rig.worker.metrics.pongs.value }

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
        #expect(peer.received == TestPeer.answer(.ping, beat))
        #expect(rig.worker.metrics.pings.value == 1)
        // Its answer is no heartbeat.
        peer.send(.pong, beat)
        #expect(pongCount(rig) == 0)
    }

    @Test func clientWithMessagesIsNotPingedUnlessForItsPong() throws {
        for options in [[], inPongMode] {
            let rig = try WorkerRig(options)
            let peer = try rig.connect("a", "b")
            let now = MonotonicInstant.now
            peer.client.beginDeadlines(now + .seconds(-20))
            rig.worker.rooms.deliver(message([0x31], in: RoomId("b")!))
            rig.worker.turn.flush()
            peer.client.lookAtDeadlines(now + .seconds(6))
            peer.read()
            let frame = [0x81, 1, 0x31] as [UInt8]
            #expect(peer.received == frame + (options.isEmpty ? [] : TestPeer.answer(.ping, beat)))
            peer.client.lookAtDeadlines(now + .seconds(32))
            peer.read()
            let pingCount = options.isEmpty ? 1 : 2
            #expect(rig.worker.metrics.pings.value == pingCount)
        }
    }

    @Test func withoutAnIntervalNoPingIsSent() throws {
        let rig = try WorkerRig("--ping-interval", "off")
        let peer = try rig.connect("a")
        peer.client.lookAtDeadlines(.now + .seconds(29))
        peer.read()
        #expect(peer.received.isEmpty)
    }

    /// What else a peer sends on its own is no answer, and one answer counts once.
    @Test func onlyTheAnswerToAPingIsAHeartbeat() throws {
        let rig = try WorkerRig(inPongMode)
        let peer = try rig.connect("a")
        peer.send(.pong, beat)
        #expect(pongCount(rig) == 0, "it was not pinged")
        peer.client.ping()
        for payload in [[], Array(beat.dropLast()), beat + [0], Array("BEAT".utf8)] {
            peer.send(.pong, payload)
        }
        peer.send(.ping, beat)
        #expect(pongCount(rig) == 0)
        peer.send(TestPeer.frame(.pong, beat) + TestPeer.frame(.pong, beat))
        #expect(pongCount(rig) == 1)
        peer.client.ping()
        peer.send(.pong, beat)
        #expect(pongCount(rig) == 2)
    }

    /// Its client cannot answer, so it gets what keeps proxies awake only when it is silent.
    @Test func eventStreamDoesNotBeatByPong() throws {
        let rig = try WorkerRig(inPongMode)
        #expect(try !rig.connect("a", as: .events).client.beatsByPong)
        #expect(try rig.connect("a").client.beatsByPong)
    }

    @Test func pongPutsTheHeartbeatOff() throws {
        let rig = try WorkerRig(inPongMode)
        let peer = try rig.connect("a")
        peer.client.beginDeadlines(.now + .seconds(-28))
        peer.client.ping()
        let before = CoarseInstant(notBefore: .now) + .seconds(30)
        #expect(peer.client.deadlines.heartbeat < before)
        peer.send(.pong, beat)
        #expect(peer.client.deadlines.heartbeat >= before)
    }

    /// In front of a client that does not read, one Ping waits at most.
    @Test func pingsBehindABacklogAreOneAtMost() throws {
        for options in [[], inPongMode] {
            let rig = try WorkerRig(options)
            let peer = try rig.connect("a", bufferBytes: 4096)
            let frame = textFrame([UInt8](repeating: 0x61, count: 100_000))
            peer.client.send(frame)
            let queued = rig.worker.turn.queueBytes
            #expect(queued > 0)
            for _ in 0..<10 { peer.client.ping() }
            let ping = TestPeer.answer(.ping, beat)
            #expect(rig.worker.turn.queueBytes == queued + (options.isEmpty ? 0 : ping.count))
            try rig.awaitBytes([(peer, frame.byteCount + (options.isEmpty ? 0 : ping.count))])
            #expect(peer.received == Array(frame.bytes) + (options.isEmpty ? [] : ping))
        }
    }

    @Test func closingClientIsNeitherPingedNorBeating() throws {
        let rig = try WorkerRig(inPongMode)
        let peer = try rig.connect("a")
        peer.client.ping()
        peer.client.close(.goingAway)
        let deadline = peer.client.deadlines.heartbeat
        peer.send(.pong, beat)
        #expect(pongCount(rig) == 0)
        #expect(peer.client.deadlines.heartbeat == deadline)
    }
}

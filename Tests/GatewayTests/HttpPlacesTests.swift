// Who makes room when places are short: real connections over socket pairs, whose other ends the test holds.

import EventLoop
import Foundation
import Glibc
import HTTP
import Network
import TestSupport
import Testing

@testable import Gateway

/// Answers `/` at once; anything else waits for ever.
private final class Handler: HttpHandler {
    private(set) var count = 0

    func handle(_ request: HttpRequestHead, on connection: HttpConnection) {
        count += 1
        if request.path == "/" { connection.respond(.ok, body: "0123456789") }
    }
}

private final class Peer {
    let socket: Socket

    init(_ socket: Socket) { self.socket = socket }

    deinit { socket.close() }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(bytes.withUnsafeBytes { socket.write($0) } == .bytes(bytes.count))
    }

    /// What has come, and whether it was the last.
    func read() -> (text: String, hasEnded: Bool) {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            switch buffer.withUnsafeMutableBytes({ socket.read(into: $0) }) {
            case .bytes(let count): text += String(decoding: buffer[..<count], as: UTF8.self)
            case .wouldBlock: return (text, false)
            case .endOfStream, .failed: return (text, true)
            }
        }
    }

    var hasEnded: Bool { read().hasEnded }
}

/// Outlives what counts.
private final class Count {
    var value = 0
}

private final class Rig {
    static let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    static let waitingRequest = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"

    let loop: EventLoop
    let host: ConnectionHost
    let places: HttpPlaces
    let handler = Handler()
    private let ended = Count()
    var endedCount: Int { ended.value }

    init(
        maximumCount: Int, grace: Duration = .seconds(1), givesUpRequests: Bool = false,
        loop: EventLoop? = nil
    ) throws {
        self.loop = try loop ?? EventLoop()
        host = ConnectionHost(loop: self.loop, maximumDelay: .seconds(100))
        places = HttpPlaces(maximumCount: maximumCount, grace: grace, givesUpRequests: givesUpRequests)
    }

    deinit {
        for connection in host.connections { connection.disconnect() }
    }

    /// A connection that is accepted, if there is a place for it, and its peer.
    func connect(now: MonotonicInstant = .now, bufferBytes: Int32 = 0) throws -> (HttpConnection, Peer)? {
        guard places.take(now: now) else { return nil }
        let ended = ended
        let pair = try socketPair(bufferBytes: bufferBytes)
        let connection = HttpConnection(
            socket: pair.0, peer: IPAddress("192.0.2.1")!, host: host,
            limits: HttpLimits(try configuration()), places: places, handler: handler,
            onEnd: { ended.value += 1 })
        connection.start()
        return (connection, Peer(pair.1))
    }

    /// Takes the places that are left. Before, there are so many that answers do not end their connections.
    func fill() {
        while places.count < places.maximumCount { #expect(places.take()) }
    }

    /// A connection that has been answered and rests.
    func resting() throws -> Peer {
        let (connection, peer) = try #require(try connect())
        peer.send(Rig.request)
        connection.socketIsReadable()
        #expect(peer.read().text.hasPrefix("HTTP/1.1 200 OK\r\n"))
        return peer
    }
}

@Suite struct HttpPlacesTests {
    @Test func longestIdleConnectionMakesRoom() throws {
        let rig = try Rig(maximumCount: 40)
        var peers: [Peer] = []
        for _ in 0..<4 { peers.append(try rig.resting()) }
        rig.fill()
        for index in 0..<4 {
            #expect(rig.places.take())
            #expect(peers.map(\.hasEnded) == (0..<4).map { $0 <= index })
        }
        #expect(!rig.places.take(), "the others are none that could go")
        #expect(rig.endedCount == 4)
        #expect(rig.places.count == 40)
    }

    @Test func newRequestStartsTheIdleTimeAnew() throws {
        let rig = try Rig(maximumCount: 40)
        let (first, firstPeer) = try #require(try rig.connect())
        firstPeer.send(Rig.request)
        first.socketIsReadable()
        let others = [try rig.resting(), try rig.resting()]
        firstPeer.send(Rig.request)
        first.socketIsReadable()
        rig.fill()
        #expect(rig.places.take())
        #expect(!firstPeer.hasEnded && others[0].hasEnded && !others[1].hasEnded)
    }

    /// It lies in the kernel when the place is needed: nobody has been idle, and a reset would lose the
    /// answer.
    @Test func connectionWhoseRequestHasArrivedStays() throws {
        let rig = try Rig(maximumCount: 40)
        let busy = try rig.resting()
        let idle = try rig.resting()
        rig.fill()
        busy.send(Rig.request)
        #expect(rig.places.take())
        #expect(!busy.hasEnded && idle.hasEnded)
        #expect(!rig.places.take())
        #expect(!busy.hasEnded)
    }

    @Test func connectionWithoutARequestHasItsGraceAndNoMore() throws {
        let rig = try Rig(maximumCount: 2, grace: .seconds(1))
        let silent = try #require(try rig.connect()).1
        let (half, halfPeer) = try #require(try rig.connect())
        halfPeer.send("GET / HT")
        half.socketIsReadable()
        #expect(rig.places.room() == 0)
        #expect(!rig.places.take())
        let later = MonotonicInstant.now + .seconds(1)
        #expect(rig.places.room(now: later) == 1)
        #expect(rig.places.take(now: later))
        #expect(silent.hasEnded && !halfPeer.hasEnded)
        #expect(rig.places.take(now: later))
        #expect(halfPeer.hasEnded)
    }

    @Test func silentConnectionThatIsOlderGoesBeforeAnIdleOne() throws {
        let rig = try Rig(maximumCount: 40, grace: .zero)
        let silent = try #require(try rig.connect()).1
        let idle = try rig.resting()
        rig.fill()
        #expect(rig.places.take())
        #expect(silent.hasEnded && !idle.hasEnded)
    }

    @Test func requestUnderWayIsLeftAloneWhileAnybodyIsIdle() throws {
        let rig = try Rig(maximumCount: 40, grace: .zero)
        let (half, halfPeer) = try #require(try rig.connect())
        halfPeer.send("GET / HT")
        half.socketIsReadable()
        let idle = try rig.resting()
        rig.fill()
        #expect(rig.places.take())
        #expect(!halfPeer.hasEnded && idle.hasEnded)
    }

    @Test func requestThatWaitsIsGivenUpOnlyWhereThatIsWanted() throws {
        for givesUpRequests in [false, true] {
            let rig = try Rig(maximumCount: 2, grace: .zero, givesUpRequests: givesUpRequests)
            var peers: [Peer] = []
            var abandonedCount = 0
            for _ in 0..<2 {
                let (connection, peer) = try #require(try rig.connect())
                peer.send(Rig.waitingRequest)
                connection.socketIsReadable()
                connection.wait(atMost: .seconds(5)) { _ in abandonedCount += 1 }
                peers.append(peer)
            }
            #expect(rig.places.take() == givesUpRequests)
            #expect(peers.map(\.hasEnded) == [givesUpRequests, false])
            #expect(abandonedCount == (givesUpRequests ? 1 : 0))
        }
    }

    @Test func answersSayThatTheConnectionEndsWhenPlacesAreShort() throws {
        let rig = try Rig(maximumCount: 8)
        var peers: [Peer] = []
        for number in 1...8 {
            let (connection, peer) = try #require(try rig.connect())
            peer.send(Rig.request)
            connection.socketIsReadable()
            let (text, hasEnded) = peer.read()
            #expect(text.contains("Connection: close\r\n") == (number > 6), "\(number) of 8")
            #expect(hasEnded == (number > 6))
            peers.append(peer)
        }
    }

    @Test func ownerHearsOfRoom() throws {
        let rig = try Rig(maximumCount: 1)
        var heardCount = 0
        rig.places.onRoom = { heardCount += 1 }
        let (connection, _) = try #require(try rig.connect())
        #expect(heardCount == 0)
        connection.disconnect()
        #expect(heardCount == 1)
        #expect(rig.places.count == 0)
    }

    /// Connections leave from everywhere, and the order of the others stays.
    @Test func orderSurvivesWhateverLeaves() throws {
        let count = 200
        let rig = try Rig(maximumCount: count * 4)
        var random = SeededRandom(seed: 7)
        var idle: [(connection: HttpConnection, peer: Peer)] = []
        for _ in 0..<count {
            let (connection, peer) = try #require(try rig.connect())
            peer.send(Rig.request)
            connection.socketIsReadable()
            idle.append((connection, peer))
        }
        for _ in 0..<count / 2 {
            let index = Int.random(in: 0..<idle.count, using: &random)
            idle.remove(at: index).connection.disconnect()
        }
        while rig.places.count < rig.places.maximumCount { #expect(rig.places.take()) }
        while !idle.isEmpty {
            #expect(rig.places.take())
            let gone = idle.removeFirst()
            #expect(gone.peer.hasEnded)
            if let next = idle.first { #expect(!next.peer.hasEnded) }
        }
        #expect(!rig.places.take())
    }
}

@Suite struct HttpConnectionMemoryTests {
    /// When the socket of a peer that reads nothing is full, 16 KiB of answers wait, and the requests behind
    /// them wait in the kernel. When it reads again, it gets every answer.
    @Test func requestsOfAPeerThatDoesNotReadWaitInTheKernel() throws {
        let scenario = try Scenario()
        let rig = try Rig(maximumCount: 8, loop: scenario.loop)
        let peer = try #require(try rig.connect(bufferBytes: 4_096)).1
        let request = Array(Rig.request.utf8)
        var sentCount = 0
        for _ in 0..<100 {
            scenario.then {
                while sentCount < 5_000,
                    request.withUnsafeBytes({ peer.socket.write($0) }) == .bytes(request.count)
                {
                    sentCount += 1
                }
            }
        }
        var takenCount = 0
        scenario.then { takenCount = rig.handler.count }
        var answerCount = 0
        scenario.step(
            "all are answered",
            until: {
                answerCount += peer.read().text.components(separatedBy: "HTTP/1.1 200 OK").count - 1
                return answerCount == sentCount
            })
        try scenario.run()
        // An answer has some 110 bytes; the kernel holds a few dozen.
        #expect(takenCount < 400, "\(takenCount) of \(sentCount)")
        #expect(sentCount > takenCount)
    }
}

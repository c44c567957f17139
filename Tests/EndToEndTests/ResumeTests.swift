// Clients that come back, and nodes that were away: durable notices come once, in order, or a loss is told.
import Foundation
import Testing

@Suite struct ResumeTests {
    private func texts(_ range: Range<Int>) -> [String] { range.map { "n\($0)" } }

    private func publish(_ cluster: Cluster, _ room: String, _ range: Range<Int>) async throws {
        for text in texts(range) { try await cluster.redis.publishDurably(room: room, text) }
    }

    @Test func aClientThatComesBackToAnotherNodeGetsWhatItHasMissed() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (left, right) = (cluster.room("left"), cluster.room(#"r"i\ght"#))
            let follower = try await Follower(cluster.nodes[0], [left, right])
            #expect(
                follower.steps == [
                    .resume([.init(room: left, isLost: false), .init(room: right, isLost: false)])
                ])
            for round in 0..<4 {
                let start = round * 20
                try await publish(cluster, left, start..<start + 10)
                try await publish(cluster, right, start..<start + 10)
                try await follower.read(upTo: "n\(start + 9)", in: right)
                try await follower.close()
                try await publish(cluster, left, start + 10..<start + 20)
                try await publish(cluster, right, start + 10..<start + 20)
                try await follower.comeBack(to: cluster.nodes[(round + 1) % 2])
                try await follower.read(upTo: "n\(start + 19)", in: right)
            }
            for room in [left, right] {
                #expect(follower.notices(of: room) == texts(0..<80))
                #expect(follower.lossCount(of: room) == 0)
            }
        }
    }

    @Test func whatIsReplayedIsWhatWasPushedAndWhatIsStored() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            let start = try await Follower(cluster.nodes[0], [room]).positions
            let live = try await cluster.nodes[0].connect(room)
            try await publish(cluster, room, 0..<5)
            let position = try #require(start[room])
            let query = "token=\(try await cluster.nodes[1].token())&roomIds=\(room)&since=\(position)"
            guard case .open(let late) = try await cluster.nodes[1].handshake(query) else {
                throw HarnessError("refused")
            }
            _ = try await late.next()
            let entries = try await cluster.redis.command("XRANGE", .string("room:\(room)"), "-", "+")
            for entry in entries.array ?? [] {
                let frame = Event.text(try #require(entry[1][1].string))
                #expect(try await live.next() == frame)
                #expect(try await late.next() == frame)
            }
            #expect(entries.array?.count == 5)
        }
    }

    /// The subscriber's connection is cut while notices are published: they come late, without a word.
    @Test func outageOfTheNodeIsFilled() async throws {
        try await Cluster.with(nodes: 2, options: ["--gap-notice", "on"]) { cluster in
            let room = cluster.room()
            var followers: [Follower] = []
            for node in cluster.nodes { followers.append(try await Follower(node, [room])) }
            for round in 0..<5 {
                try await cluster.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                try await publish(cluster, room, round * 20..<round * 20 + 20)
            }
            for follower in followers {
                try await follower.read(upTo: "n99", in: room)
                #expect(follower.notices(of: room) == texts(0..<100))
                #expect(
                    follower.steps.count == 101, "one resume and the notices: \(follower.steps.prefix(3))")
            }
        }
    }

    @Test func restartOfARedisThatKeepsItsDataIsFilled() async throws {
        try await Cluster.with(nodes: 2, redisOptions: RedisServer.keepingAll) { cluster in
            let room = cluster.room()
            var followers: [Follower] = []
            for node in cluster.nodes { followers.append(try await Follower(node, [room])) }
            let away = followers[1]
            try await publish(cluster, room, 0..<10)
            try await away.read(upTo: "n9", in: room)
            try await away.close()
            try await cluster.redis.stop()
            _ = try await cluster.redis.restart()
            try await publish(cluster, room, 10..<20)
            try await eventually("ready") { try await cluster.nodes[1].ready().status == 200 }
            try await away.comeBack(to: cluster.nodes[1])
            for follower in followers {
                try await follower.read(upTo: "n19", in: room)
                #expect(follower.notices(of: room) == texts(0..<20))
                #expect(follower.lossCount(of: room) == 0)
            }
        }
    }

    @Test func lossIsTold() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let (node, other) = (cluster.nodes[0], cluster.nodes[1])
            let (trimmed, deleted, away) = (cluster.room("trimmed"), cluster.room("deleted"), cluster.room())
            let follower = try await Follower(node, [trimmed, deleted])
            let connected = try await Follower(other, [away])
            for room in [trimmed, deleted] { try await publish(cluster, room, 0..<5) }
            try await follower.read(upTo: "n4", in: deleted)
            try await follower.close()
            for room in [trimmed, deleted] { try await publish(cluster, room, 5..<9) }
            try await cluster.redis.command("XTRIM", .string("room:\(trimmed)"), "MAXLEN", "=", "1")
            try await cluster.redis.command("DEL", .string("room:\(deleted)"))
            try await follower.comeBack(to: other)
            #expect(follower.lossCount(of: trimmed) == 1)
            #expect(follower.lossCount(of: deleted) == 1)
            // Nothing old comes, and everything new.
            for room in [trimmed, deleted] { try await publish(cluster, room, 9..<12) }
            try await follower.read(upTo: "n11", in: deleted)
            for room in [trimmed, deleted] {
                #expect(follower.notices(of: room) == texts(0..<5) + texts(9..<12))
            }
            // A flush concerns everyone, also those who are connected.
            try await cluster.redis.command("FLUSHALL")
            try await connected.read()
            #expect(connected.lossCount(of: away) == 1)
            try await follower.read()
            #expect(follower.lossCount(of: trimmed) == 2 && follower.lossCount(of: deleted) == 2)
            let metrics = try await other.metrics()
            #expect((metrics.samples[#"roomcast_rooms_lost_total{why="epoch"}"#] ?? 0) >= 1)
            #expect((metrics.samples[#"roomcast_resumes_total{result="lost"}"#] ?? 0) == 2)
        }
    }

    @Test func positionsThatMeanNothingHereAreLossesAndMalformedOnesAreRefused() async throws {
        try await Cluster.with { cluster in
            let (node, room) = (cluster.node, cluster.room())
            try await cluster.redis.publishDurably(room: room, "old")
            let epoch = try #require(try await Follower(node, [room]).positions[room]).prefix(8)
            for position in ["zzzzzzzz.1-1", "\(epoch).1-1", "\(epoch).9999999999999999-9999999999999999"] {
                let follower = try await Follower(node, [room], positions: [room: position])
                #expect(follower.steps == [.resume([.init(room: room, isLost: true)])], "\(position)")
            }
            for since in [
                "x", "\(epoch)", "\(epoch).1-01", "\(epoch).1", "abc.1-1", ",x&since=", "\(epoch).1-1.2",
            ] {
                let query = "token=\(try await node.token())&roomIds=\(room),b&since=\(since)"
                guard case .refused(let answer) = try await node.handshake(query) else {
                    Issue.record("\(since) is taken")
                    continue
                }
                #expect(answer.status == 400, "\(since)")
                #expect(answer.body.contains("Invalid request parameters"))
            }
            // Items behind the rooms that count are not looked at.
            let follower = try await Follower(node, [room], positions: [room: "zzzzzzzz.1-1,,x,y"])
            #expect(follower.lossCount(of: room) == 1)
        }
    }

    /// 750 KB of history to a client that does not read at first, while plain and durable notices go on.
    @Test func longReplayIsPacedAndWhatComesMeanwhileFollowsIt() async throws {
        try await Cluster.with(nodes: 2, options: ["--socket-send-buffer", "16KiB"]) { cluster in
            for node in cluster.nodes {
                let room = cluster.room()
                let position = try #require(try await Follower(node, [room]).positions[room])
                let padding = String(repeating: "x", count: 5_000)
                for number in 0..<150 {
                    try await cluster.redis.publishDurably(room: room, "n\(number)" + padding)
                }
                let raw = try await node.rawSocket("\(room)&since=\(position)", receiveBufferBytes: 4096)
                for number in 0..<20 {
                    try await cluster.redis.publish(room: room, "\(number)")
                    try await cluster.redis.publishDurably(room: room, "late\(number)")
                }
                // Far less than the replay waits in the node.
                #expect(try await node.metrics()["roomcast_queue_bytes"] < 400_000)
                // The resume frame, then the durable notices as they are stored, and the plain ones.
                let head = try await raw.receive(2).bytes
                var sizes = [Int(head[1]) - 2]
                let entries = try await cluster.redis.command("XRANGE", .string("room:\(room)"), "-", "+")
                sizes +=
                    (entries.array ?? []).compactMap { $0[1][1].string?.utf8.count }
                    + (0..<20).map { "\($0)".utf8.count }
                let total = sizes.reduce(0) { $0 + $1 + ($1 > 125 ? 4 : 2) }
                let bytes = head + (try await raw.receive(total).bytes)
                let texts = try Frame.parse(bytes).map { String(decoding: $0.payload, as: UTF8.self) }
                #expect(texts.count == 191)
                let durable = texts.compactMap { JSON(parsing: $0)?["data"].string }
                #expect(
                    durable.map { $0.prefix { $0 != "x" } } == (0..<150).map { "n\($0)" }
                        + (0..<20).map { "late\($0)" })
                #expect(texts.compactMap { Int($0) } == Array(0..<20))
                try await raw.close()
            }
        }
    }

    @Test func slowConsumerLosesNothing() async throws {
        try await Cluster.with(options: ["--maximum-queue-bytes", "16KiB", "--socket-send-buffer", "16KiB"])
        { cluster in
            let (node, room) = (cluster.node, cluster.room())
            let position = try #require(try await Follower(node, [room]).positions[room])
            let raw = try await node.rawSocket("\(room)&since=\(position)", receiveBufferBytes: 4096)
            let padding = String(repeating: "x", count: 5_000)
            for number in 0..<200 {
                try await cluster.redis.publishDurably(room: room, "n\(number)" + padding)
            }
            try await eventually("it is sent away") {
                try await node.metrics().samples[#"roomcast_closes_total{code="1013"}"#] == 1
            }
            let (bytes, _) = try await raw.receive()
            let frames = try Frame.parse(bytes)
            let texts = frames.filter(\.isText).map { String(decoding: $0.payload, as: UTF8.self) }
            let ids = texts.compactMap { JSON(parsing: $0)?["id"].string }
            #expect(ids.count < 200)
            let since = ids.last.map { position.prefix(9) + $0 } ?? Substring(position)
            let follower = try await Follower(node, [room], positions: [room: String(since)])
            try await follower.read(upTo: "n199" + padding, in: room)
            let rest = follower.notices(of: room).map { String($0.prefix { $0 != "x" }) }
            #expect(rest == self.texts(ids.count..<200))
        }
    }

    /// A user of Redis who may not read streams: opted-in clients are turned away, others served.
    @Test func withoutTheRightToReadEverythingElseWorks() async throws {
        try await Cluster.with(options: ["--redis-timeout", "500ms"]) { cluster in
            let (node, room) = (cluster.node, cluster.room())
            try await cluster.redis.command("ACL", "SETUSER", "default", "-xrange", "-xrevrange", "-xinfo")
            let query = "token=\(try await node.token())&roomIds=\(room)&since="
            guard case .refused(let answer) = try await node.handshake(query) else {
                throw HarnessError("not refused")
            }
            #expect(answer.status == 500)
            #expect(node.child.errorOutput.contains("redis refuses to read histories"))
            let plain = try await node.connect(room)
            try await cluster.redis.publish(room: room, "1")
            #expect(try await plain.next() == .text("1"))
        }
    }
}

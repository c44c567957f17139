// Event streams of durable rooms: what their ids promise, wherever a connection ends.
import Foundation
import Testing

@Suite struct EventStreamResumeTests {
    /// The position of a room behind a durable notice.
    private func position(_ epoch: String, _ text: String) -> String {
        "\(epoch).\(JSON(parsing: text)?["id"].string ?? "none")"
    }

    private func resumed(_ event: StreamEvent) -> JSON? {
        guard let notice = event.text.flatMap({ JSON(parsing: $0) }), notice["type"] == "resume" else {
            return nil
        }
        return notice["data"]["rooms"]
    }

    @Test func idIsTheResumePositionWhetherOptedInOrNot() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            let optedIn = try await cluster.node.stream("\(room)&since=")
            let told = try await optedIn.next()
            let since = try #require(resumed(told)?[0]["since"].string)
            #expect(told.id == since)
            let plain = try await cluster.nodes[1].stream(room)
            try await cluster.redis.publishDurably(room: room, "one")
            try await cluster.redis.publish(room: room, "2")
            for stream in [optedIn, plain] {
                let event = try await stream.next()
                #expect(event.id == position(String(since.prefix(8)), event.text ?? ""))
                #expect(try await stream.next() == .event(name: "message", data: "2", id: event.id ?? ""))
            }
            // An EventSource comes back with the URL that it began with.
            let id = try await plain.lastEventId()
            try await plain.close()
            for text in ["two", "three"] { try await cluster.redis.publishDurably(room: room, text) }
            for url in [room, "\(room)&since=\(since)", "\(room)&since=zzzzzzzz.1-1"] {
                let back = try await cluster.node.stream(url, headers: ["Last-Event-ID": id])
                let answer = try await back.next()
                #expect(resumed(answer)?[0] == ["room": .string(room), "since": .string(id), "lost": false])
                for text in ["two", "three"] {
                    let event = try await back.next()
                    #expect(event.text.flatMap { JSON(parsing: $0) }?["data"].string == text)
                    #expect(event.id == position(String(since.prefix(8)), event.text ?? ""))
                }
                try await back.close()
            }
        }
    }

    /// The one id of two rooms: both positions behind each turn, and with each notice of a replay.
    @Test func idOfTwoRoomsHoldsBothPositions() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let rooms = [cluster.room("a"), cluster.room("b")]
            let names = rooms.joined(separator: ",")
            let stream = try await cluster.node.stream("\(names)&since=")
            var positions =
                try #require(resumed(try await stream.next())).array?.compactMap(\.["since"].string) ?? []
            let epoch = String(positions[0].prefix(8))
            #expect(try await stream.lastEventId() == positions.joined(separator: ","))
            for number in 0..<6 {
                try await cluster.redis.publishDurably(room: rooms[number % 2], "n\(number)")
                let event = try await stream.next()
                positions[number % 2] = position(epoch, event.text ?? "")
                #expect(event.id == positions[number % 2], "the shared event has that of its room")
                try await eventually("both positions follow it") {
                    try await stream.lastEventId() == positions.joined(separator: ",")
                }
            }
            try await stream.close()
            for number in 6..<12 {
                try await cluster.redis.publishDurably(room: rooms[number % 2], "n\(number)")
            }
            let back = try await cluster.nodes[1].stream(
                names, headers: ["Last-Event-ID": positions.joined(separator: ",")])
            let told = try await back.next()
            #expect(resumed(told)?.array?.map(\.["lost"].bool) == [false, false])
            #expect(told.id == positions.joined(separator: ","))
            var texts: [String] = []
            for _ in 6..<12 {
                let event = try await back.next()
                let notice = event.text.flatMap { JSON(parsing: $0) }
                texts.append(notice?["data"].string ?? "")
                positions[rooms.firstIndex(of: notice?["room"].string ?? "") ?? 0] = position(
                    epoch, event.text ?? "")
                #expect(event.id == positions.joined(separator: ","), "each has both")
            }
            #expect(texts == ["n6", "n8", "n10", "n7", "n9", "n11"])
            try await back.close()
        }
    }

    /// A stream that ends between a notice and the positions behind it: the notice's room goes on, and of the
    /// other one nothing is claimed.
    @Test func idOfOneRoomAloneIsALossOfTheOther() async throws {
        try await Cluster.with { cluster in
            let rooms = [cluster.room("a"), cluster.room("b")]
            let names = rooms.joined(separator: ",")
            for (index, room) in rooms.enumerated() {
                let stream = try await cluster.node.stream("\(names)&since=")
                _ = try await stream.next()
                try await cluster.redis.publishDurably(room: rooms[1 - index], "other")
                _ = try await stream.next()
                try await cluster.redis.publishDurably(room: room, "seen")
                let id = try #require(try await stream.next().id)
                try await stream.close()
                try await cluster.redis.publishDurably(room: room, "missed")
                let back = try await cluster.node.stream(names, headers: ["Last-Event-ID": id])
                let told = try #require(resumed(try await back.next()))
                #expect(told[index]["lost"] == false && told[1 - index]["lost"] == true)
                let missed = try await back.next()
                #expect(missed.text.flatMap { JSON(parsing: $0) }?["data"] == "missed")
                try await back.close()
            }
        }
    }

    /// Through nginx, with notices coming all the time.
    @Test func aKilledNodeCostsAStreamNothing() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let nginx = try await NginxServer(cluster)
            let room = cluster.room()
            let token = try #require(
                try await cluster.driver.request(nginx.port, "/get/token?isLogin=true&userId=ada").data)
            func open(_ id: String?) async throws -> EventStream {
                var opened: EventStream?
                try await eventually("connected") {
                    let answer = try await cluster.driver.eventStream(
                        nginx.port, "token=\(token)&roomIds=\(room)&since=",
                        headers: id.map { ["Last-Event-ID": $0] } ?? [:])
                    if case .open(let stream) = answer { opened = stream }
                    return opened != nil
                }
                return try #require(opened)
            }
            var stream = try await open(nil)
            #expect(stream.answer.headers["transfer-encoding"] == "chunked", "as nginx passes it on")
            let publishing = Task {
                for number in 0..<300 { try await cluster.redis.publishDurably(room: room, "n\(number)") }
            }
            var (texts, losses, kills) = ([String](), 0, 0)
            var nodes = cluster.nodes
            while texts.count < 300 {
                let event = try await stream.next()
                if let told = resumed(event) {
                    losses += (told.array ?? []).count { $0["lost"] == true }
                } else if let text = event.text {
                    texts.append(JSON(parsing: text)?["data"].string ?? text)
                } else if case .event = event {
                    continue
                } else {
                    stream = try await open(try await stream.lastEventId())
                }
                guard kills < 2, texts.count >= 100 * (kills + 1) else { continue }
                kills += 1
                let holder = try await cluster.redis.hash("client:\(token)")["node"]
                let index = try #require(nodes.firstIndex { $0.id == holder })
                try await nodes[index].child.signal(SIGKILL)
                #expect(try await nodes[index].child.exitCode() != nil)
                nodes[index] = try await GatewayNode(
                    cluster.driver, id: "again-\(kills)", redis: cluster.redis,
                    options: ["--listen", "127.0.0.1:\(nodes[index].port)"])
            }
            try await publishing.value
            #expect(kills == 2 && losses == 0)
            #expect(texts == (0..<300).map { "n\($0)" }, "each once and in order")
        }
    }
}

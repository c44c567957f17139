// The cluster that the tests of Redis Cluster use does what they take for granted, on the server that they run on.
import Testing

@Suite(
    .serialized,
    .enabled(if: ServerUnderTest.hasFunctions, "a port of its own for the bus came with Redis 7"))
struct ClusterGroupTests {
    private func with(
        _ make: (Driver) async throws -> ClusterGroup = { try await ClusterGroup($0) },
        _ body: (ClusterGroup) async throws -> Void
    ) async throws {
        try await Driver.with { driver in try await body(try await make(driver)) }
    }

    /// What a subscriber at one server hears first when "hello there" is published at another.
    /// - Parameter isDeaf: whether "hello here" follows at its own server, because nothing else can come.
    private func heard(
        _ group: ClusterGroup, at subscriber: RedisServer, from publisher: RedisServer, isDeaf: Bool = false
    ) async throws -> JSON {
        let channel = "greetings-\(publisher.port)"
        async let messages = group.driver.call(
            "redis_collect",
            [
                "port": .number(Double(subscriber.port)), "subscribe": .string(channel), "publish": "unused",
                "text": "", "prefix": "hello", "count": 1, "timeout": .number(Duration.patience.seconds),
            ])
        try await eventually("the subscription") {
            try await subscriber.command("PUBSUB", "NUMSUB", .string(channel))[1].int == 1
        }
        try await publisher.command("PUBLISH", .string(channel), "hello there")
        if isDeaf { try await subscriber.command("PUBLISH", .string(channel), "hello here") }
        return try await messages[0]
    }

    /// An error reply, without what follows its first words.
    private func refusal(_ server: RedisServer, _ arguments: JSON...) async throws -> String {
        let reply = try await server.command(arguments, user: nil, password: server.password)
        return reply["error"].string ?? "\(reply)"
    }

    @Test func mastersShareTheSlotsAndEachHasAReplica() async throws {
        try await with { group in
            let (masters, replicas) = (Array(group.servers[..<3]), Array(group.servers[3...]))
            #expect(replicas.count == 3)
            var counts: [Int] = []
            for (master, replica) in zip(masters, replicas) {
                #expect(try await group.isMaster(master))
                #expect(try await group.replicas(of: master).map(\.port) == [replica.port])
            }
            for slot in stride(from: 0, to: ClusterGroup.slotCount, by: 1_000) {
                let owner = try await group.owner(ofSlot: slot)
                counts.append(try #require(masters.firstIndex { $0 === owner }))
            }
            #expect(counts == counts.sorted() && Set(counts) == [0, 1, 2])
            #expect(try await group.slot(ofKey: "123456789") == 0x31C3)
            let owner = try await group.owner(ofKey: "123456789")
            #expect(try await owner.command("SET", "123456789", "x") == "OK")
            let other = try #require(masters.first { $0 !== owner })
            let moved = try await refusal(other, "GET", "123456789")
            #expect(moved == "MOVED \(0x31C3) 127.0.0.1:\(owner.port)")
            #expect(try await heard(group, at: replicas[1], from: masters[0]) == "hello there")
            #expect(try await heard(group, at: masters[2], from: replicas[0]) == "hello there")
        }
    }

    @Test func aClusterMayHaveNoReplicas() async throws {
        try await with({ try await ClusterGroup($0, replicasOfEach: 0) }) { group in
            let masters = try await group.masters()
            #expect(masters.count == 3)
            #expect(group.servers.count == 3)
            #expect(group.url().hasPrefix("cluster://127.0.0.1:\(group.servers[0].port),127.0.0.1:"))
        }
    }

    /// What CLUSTER SLOTS has in place of an address.
    @Test(arguments: [(ClusterGroup.Endpoint.hostName, JSON.string("localhost")), (.unknown, .null)])
    func anEndpointIsAsAsked(endpoint: ClusterGroup.Endpoint, host: JSON) async throws {
        try await with({ try await ClusterGroup($0, replicasOfEach: 0, endpoint: endpoint) }) { group in
            let owner = try await group.owner(ofSlot: 0)
            for server in group.servers {
                try await eventually("the name has come around") {
                    let rows = try await server.command("CLUSTER", "SLOTS").array ?? []
                    let places = rows.map { $0[2] }
                    return places.count == 3 && places.allSatisfy { $0[0] == host }
                        && places.contains { $0[1].int == owner.port }
                }
            }
        }
    }

    @Test(arguments: ServerUnderTest.securities)
    func aSecuredClusterMovesItsSlotsAndMasters(isSecured: Bool) async throws {
        try await with({
            try await ClusterGroup($0, password: "cluster-Pa55word", isSecured: isSecured)
        }) { group in
            #expect(group.url().hasPrefix(isSecured ? "clusters://" : "cluster://"))
            let key = "client:moving"
            let (source, slot) = (try await group.owner(ofKey: key), try await group.slot(ofKey: key))
            let target = try #require(try await group.masters().first { $0 !== source })
            try await group.tell(source, "SET", .string(key), "x")
            #expect(try await refusal(source, "AUTH", "wrong").hasPrefix("WRONGPASS"))
            try await group.move(slots: [slot], to: target)
            #expect(try await group.tell(target, "GET", .string(key)) == "x")
            let replica = try #require(try await group.replicas(of: target).first)
            try await group.failOver(to: replica)
            #expect(try await group.tell(replica, "GET", .string(key)) == "x")
        }
    }

    @Test func aSlotMovesStepByStepWithItsKeys() async throws {
        try await with({ try await ClusterGroup($0, replicasOfEach: 0) }) { group in
            let slot = try await group.slot(ofKey: "{moving}")
            let source = try await group.owner(ofSlot: slot)
            let target = try #require(group.servers.first { $0 !== source })
            for number in 0..<5 {
                try await source.command("SET", .string("{moving}\(number)"), "x", "EX", "1000")
            }
            var steps: [String] = []
            let ask = "ASK \(slot) 127.0.0.1:\(target.port)"
            try await group.move(slot: slot, to: target, keysAtOnce: 2) { step async throws in
                switch step {
                case .opened:
                    steps.append("opened")
                    #expect(try await refusal(source, "GET", "{moving}none") == ask)
                    #expect(try await source.command("GET", "{moving}0") == "x")
                case .moved(let keys):
                    steps.append("\(keys.count)")
                    #expect(try await refusal(source, "GET", .string(keys[0])) == ask)
                case .taken:
                    steps.append("taken")
                    #expect(try await target.command("GET", "{moving}0") == "x")
                    #expect(try await group.owner(ofSlot: slot) === target)
                }
            }
            #expect(steps == ["opened", "2", "2", "1", "taken"])
            let moved = "MOVED \(slot) 127.0.0.1:\(target.port)"
            #expect(try await refusal(source, "GET", "{moving}0") == moved)
            #expect(try await target.command("TTL", "{moving}0").int ?? 0 > 500)
            try await group.agreement()
        }
    }

    @Test func aReplicaTakesThePlaceOfAKilledMasterWhichThenFollowsIt() async throws {
        try await with { group in
            let (master, replica) = (group.servers[0], group.servers[3])
            try await group.kill(master)
            #expect(group.upServers.count == 5)
            #expect(try await group.promotion(inPlaceOf: master) === replica)
            try await group.start(master)
            try await group.agreement()
            #expect(try await group.replicas(of: replica).map(\.port) == [master.port])
            // And again, by hand and with another process in the old place.
            try await group.failOver(to: master)
            #expect(try await group.owner(ofSlot: 0) === master)
            try await group.kill(master)
            #expect(try await group.promotion(inPlaceOf: master) === replica)
        }
    }

    @Test func aFrozenMasterIsReplacedAndFollowsWhenItWakes() async throws {
        try await with { group in
            let (master, replica) = (group.servers[1], group.servers[4])
            try await group.freeze(master)
            #expect(try await group.promotion(inPlaceOf: master) === replica)
            try await group.thaw(master)
            try await group.agreement()
            #expect(try await group.isMaster(master) == false)
        }
    }

    @Test func serversComeAndGo() async throws {
        try await with { group in
            let fresh = try await group.add()
            try await group.add(replicaOf: fresh)
            #expect(group.servers.count == 8)
            #expect(try await group.masters().count == 3)
            let old = group.servers[2]
            let own = try await group.view(old).own
            let slots = (0..<ClusterGroup.slotCount).filter(own.owns)
            #expect(slots.count > 5_000)
            try await group.move(slots: slots.prefix(20), to: fresh)
            #expect(try await group.masters().count == 4)
            try await group.move(slots: slots.prefix(20), to: old)
            try await group.remove(fresh)
            #expect(group.servers.count == 7)
            // It answers, alone.
            #expect(try await group.tell(fresh, "PING") == "PONG")
            #expect(try await group.view(fresh).nodes.count == 1)
            #expect(try await heard(group, at: fresh, from: old, isDeaf: true) == "hello here")
            #expect(try await heard(group, at: old, from: fresh, isDeaf: true) == "hello here")
            try await group.remove(group.servers[3])
            #expect(group.servers.count == 6)
        }
    }

    @Test func aDeafServerAnswersAndHearsOnlyItself() async throws {
        try await with { group in
            let deaf = group.servers[4]
            try await group.deafen(deaf)
            #expect(try await heard(group, at: deaf, from: group.servers[0], isDeaf: true) == "hello here")
            #expect(try await heard(group, at: group.servers[0], from: deaf) == "hello there")
            try await group.agreement()
            try await group.undeafen(deaf)
            #expect(try await heard(group, at: deaf, from: group.servers[0]) == "hello there")
        }
    }
}

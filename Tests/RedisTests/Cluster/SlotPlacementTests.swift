import Testing

@testable import Redis

@Suite struct SlotPlacementTests {
    private let masters = (1...3).map { RedisURL.Address.tcp(host: "10.0.0.\($0)", port: 6379) }

    private func own(_ slots: String, flags: String = "myself,master") throws -> SlotPlacement.Own {
        let nodes = """
            aaaa 10.0.0.9:6379@16379 master - 0 1 2 connected 0-16383
            bbbb 10.0.0.1:6379@16379 \(flags) - 0 1 2 connected \(slots)

            """
        return try #require(SlotPlacement.Own(nodes))
    }

    private func placement(_ slots: [String?]) throws -> SlotPlacement {
        let map = try ClusterMap([
            (0...99, masters[0], []), (100...199, masters[1], []), (200...299, masters[2], []),
        ])
        var own: [RedisURL.Address: SlotPlacement.Own?] = [:]
        for (master, slots) in zip(masters, slots) {
            own.updateValue(try slots.map { try self.own($0) }, forKey: master)
        }
        return SlotPlacement(map: map, own: own)
    }

    @Test func theOwnLineHasTheSlots() throws {
        #expect(try own("0-99 150 7000-7001").count == 103)
        #expect(try own("").count == 0)
        let moving = try own("0-99 [98->-cccc] [105-<-dddd]")
        #expect(moving.count == 100 && moving.hasLeaving && moving.hasComing)
        #expect(SlotPlacement.Own("aaaa 10.0.0.9:6379@16379 master - 0 1 2 connected 0-16383") == nil)
        #expect(SlotPlacement.Own("") == nil)
    }

    @Test func mastersThatKeysLeaveComeFirst() throws {
        let placement = try placement(["0-99 [150-<-b]", "100-199", "200-299 [250->-a]"])
        #expect(placement.mastersInOrder == [masters[2], masters[1], masters[0]] && placement.isOrderly)
        let idle = try self.placement(["0-99", "100-199", "200-299"])
        #expect(idle.mastersInOrder == masters && idle.isOrderly && idle != placement)
    }

    @Test func whatKeysLeaveAndComeToHasNoPlaceInTheOrder() throws {
        #expect(try !placement(["0-99 [1->-b] [150-<-b]", "100-199 [150->-a]", "200-299"]).isOrderly)
    }

    /// A master that the map does not have yet has taken it.
    @Test func slotThatNoMasterHasIsNoOrder() throws {
        #expect(try !placement(["0-99", "100-198", "200-299"]).isOrderly)
    }

    @Test func withoutTheRightToAskOnlyTheMapCounts() throws {
        let unknown = try placement([nil, "100-199", "200-299"])
        #expect(unknown.isOrderly && unknown.mastersInOrder == masters)
        #expect(try unknown == placement([nil, "100-199", "200-299"]))
    }
}

import RedisSchema
import Testing

@testable import Gateway

@Suite struct PublishRequestTests {
    private func asked(_ text: String) throws(ParameterFault) -> PublishRequest {
        try PublishRequest(Array(text.utf8))
    }

    private func fault(_ text: String) throws -> String {
        let fault = #expect(throws: ParameterFault.self, "\(text)") { try asked(text) }
        return try #require(fault).detail
    }

    @Test func dataIsPublishedByteForByte() throws {
        let request = try asked(#" {"room":"a\u00e9","data": {"n":1.0, "n":1e400} ,"type":"x\"y"} "#)
        #expect(request.rooms == [RoomId("aé")])
        #expect(request.payload == Array(#"{"type":"x\"y","data":{"n":1.0, "n":1e400}}"#.utf8))
        #expect(request.durability == nil)
        #expect(
            try asked(#"{"room":"a","data":null}"#).payload == Array(#"{"type":"notice","data":null}"#.utf8))
    }

    @Test func clusterHasNoDurableNoticesForRoomsWithBraces() throws {
        for room in ["a{b}", "{", "}x"] {
            let body = Array(#"{"rooms":["a","\#(room)"],"data":1,"durable":true}"#.utf8)
            let fault = #expect(throws: ParameterFault.self) { try PublishRequest(body, isCluster: true) }
            #expect(fault?.detail == "in a Redis Cluster a room with { or } has no durable notices")
            #expect(throws: Never.self) { try PublishRequest(body) }
        }
        let plain = Array(#"{"room":"a{b}","data":1}"#.utf8)
        #expect(throws: Never.self) { try PublishRequest(plain, isCluster: true) }
    }

    @Test func roomsKeepTheirOrderAndLoseRepeats() throws {
        let request = try asked(#"{"rooms":[ "b" ,"a","b" , "\u0061"],"data":1}"#)
        #expect(request.rooms == [RoomId("b"), RoomId("a")])
        let many = (0..<Limits.publishRoomCount).map { "\"r\($0)\"" }.joined(separator: ",")
        #expect(try asked(#"{"rooms":[\#(many)],"data":1}"#).rooms.count == Limits.publishRoomCount)
        #expect(try fault(#"{"rooms":[\#(many),"x"],"data":1}"#).contains("1 to 100 rooms"))
    }

    @Test func durableNoticesHaveTheirBounds() throws {
        let plain = try asked(#"{"room":"a","data":1,"durable":true}"#).durability
        #expect(plain == PublishRequest.Durability(once: nil, bounds: HistoryBounds()))
        let given = try asked(
            #"{"room":"a","data":1,"durable":true,"once":"k","historyLimit":5,"historyAgeMs":600000}"#)
        #expect(
            given.durability
                == PublishRequest.Durability(
                    once: OnceKey("k"), bounds: HistoryBounds(limit: 5, age: .seconds(600))))
        #expect(try asked(#"{"room":"a","data":1,"durable":false}"#).durability == nil)
    }

    /// The envelope `{"type":"notice","data":""}` takes 27 bytes.
    @Test func durableNoticesAreBounded() throws {
        func body(_ count: Int, durable: Bool) -> String {
            #"{"room":"a","durable":\#(durable),"data":"\#(String(repeating: "x", count: count))"}"#
        }
        let largest = DurableNotice.maximumBytes - 27
        #expect(try asked(body(largest, durable: true)).payload.count == DurableNotice.maximumBytes)
        #expect(try fault(body(largest + 1, durable: true)).contains("65536 bytes"))
        #expect(throws: Never.self) { try asked(body(largest + 1, durable: false)) }
    }

    @Test(arguments: [
        ("", "not a JSON object"), ("[]", "not a JSON object"), (#"{"room":"a","data":1} x"#, "not a JSON"),
        ("{}", "room or rooms is missing"), (#"{"room":"a"}"#, "data is missing"),
        (#"{"room":"a","rooms":["b"],"data":1}"#, "exclude each other"),
        (#"{"room":"a","room":"b","data":1}"#, "room stands twice"),
        (#"{"room":"","data":1}"#, "room is not"), (#"{"room":"a,b","data":1}"#, "room is not"),
        (#"{"room":1,"data":1}"#, "room is not"), (#"{"rooms":[],"data":1}"#, "rooms is not"),
        (#"{"rooms":"a","data":1}"#, "rooms is not"), (#"{"rooms":["a",1],"data":1}"#, "item of rooms"),
        (#"{"room":"a","data":1,"type":2}"#, "type is not"),
        (#"{"room":"a","data":1,"durabel":true}"#, "a member is none of"),
        (#"{"room":"a","data":1,"durable":1}"#, "durable is neither"),
        (#"{"room":"a","data":1,"durable":"true"}"#, "durable is neither"),
        (#"{"room":"a","data":1,"once":"k"}"#, "for durable notices only"),
        (#"{"room":"a","data":1,"historyLimit":5}"#, "for durable notices only"),
        (#"{"room":"a","data":1,"durable":true,"once":""}"#, "once is not"),
        (#"{"room":"a","data":1,"durable":true,"once":5}"#, "once is not"),
        (#"{"room":"a","data":1,"durable":true,"historyLimit":0}"#, "historyLimit is not"),
        (#"{"room":"a","data":1,"durable":true,"historyLimit":1e3}"#, "historyLimit is not"),
        (#"{"room":"a","data":1,"durable":true,"historyAgeMs":599999}"#, "historyAgeMs is not"),
    ])
    func otherFormsAreRefused(text: String, expected: String) throws {
        #expect(try fault(text).contains(expected))
    }
}

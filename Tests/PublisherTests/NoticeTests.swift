import Foundation
import RedisSchema
import Testing

@testable import Publisher

@Suite struct NoticeTests {
    private func payload(_ line: String) throws -> String {
        String(decoding: try Notice(line: Array(line.utf8), defaultType: "notice").payload, as: UTF8.self)
    }

    private func fault(_ line: String) throws -> String {
        let fault = #expect(throws: Notice.Fault.self) {
            try Notice(line: Array(line.utf8), defaultType: "notice")
        }
        return try #require(fault, "\(line)").description
    }

    @Test func dataIsPassedOnByteForByte() throws {
        let data = #"{ "b":1.0,"a":1e400, "a" : [1 , {"x":"}\"]\\"}], "n":12345678901234567890123 }"#
        #expect(try payload(#"{"room":"a","type":"t","data":\#(data)}"#) == #"{"type":"t","data":\#(data)}"#)
        for data in [
            "1", "-0.5e-3", "true", "null", "\"\"", "[]", "{}", #""\u00e9\ud83d\ude00""#, "[[],{}]",
        ] {
            #expect(
                try payload(#" { "data" : \#(data) , "room":"a" } "#)
                    == #"{"type":"notice","data":\#(data)}"#
            )
        }
    }

    @Test func roomsAndTypesAreUnescaped() throws {
        let line = #"{"room":"\u00e9\ud83d\ude00\/\"\\ \u623F","type":"a\"\n\u0001\b\f\r\t","data":1}"#
        let notice = try Notice(line: Array(line.utf8), defaultType: "notice")
        #expect(notice.room == RoomId("é😀/\"\\ 房"))
        let object = try #require(JSONSerialization.jsonObject(with: Data(notice.payload)) as? [String: Any])
        #expect(object["type"] as? String == "a\"\n\u{1}\u{8}\u{C}\r\t")
    }

    @Test func memberNamesMayBeEscaped() throws {
        #expect(try payload(#"{"r\u006fom":"a","data":1}"#) == #"{"type":"notice","data":1}"#)
        #expect(try fault(#"{"room":"a","r\u006Fom":"b","data":1}"#) == "member \"room\" stands twice")
    }

    @Test func faultsSayWhatIsWrong() throws {
        #expect(try fault("").hasPrefix("not JSON"))
        #expect(try fault("{").hasPrefix("not JSON"))
        #expect(try fault(#"{"room":"a","data":1} x"#).hasPrefix("not JSON"))
        #expect(try fault("[1]") == "not a JSON object")
        #expect(try fault("1") == "not a JSON object")
        #expect(try fault("{}") == "member \"room\" is missing")
        #expect(try fault(#"{"room":"a"}"#) == "member \"data\" is missing")
        #expect(try fault(#"{"room":1,"data":1}"#).hasPrefix("\"room\" is not a string of 1 to 128 bytes"))
        #expect(try fault(#"{"room":"a,b","data":1}"#).hasSuffix("without control characters and commas"))
        #expect(try fault(#"{"room":"","data":1}"#).hasPrefix("\"room\" is not"))
        #expect(try fault(#"{"room":"a\u0000","data":1}"#).hasPrefix("\"room\" is not"))
        #expect(try fault(#"{"room":"\ud800","data":1}"#).hasPrefix("\"room\" is not"))
        #expect(try fault(#"{"room":"a","type":1,"data":1}"#) == "\"type\" is not a string")
        #expect(try fault(#"{"room":"a","tpye":"x","data":1}"#).hasPrefix("unknown member \"tpye\""))
        #expect(try fault("{\"room\":\"a\",\"x\\ny\":1,\"data\":1}").hasPrefix("unknown member \"x?y\""))
        #expect(throws: Notice.Fault(description: "not UTF-8")) {
            try Notice(
                line: Array(#"{"room":"a","data":""#.utf8) + [0xFF, 0x22, 0x7D], defaultType: "notice")
        }
    }

    @Test func argumentDataIsOneValueAndTrimmed() throws {
        let bytes = try Notice.payload(type: "n", data: Array(" \t{\"a\": 1}\r\n".utf8))
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"type":"n","data":{"a": 1}}"#)
        for wrong in ["", " ", "{", "1 2", #"1},{"x":1"#, "'a'", "nul", "01"] {
            #expect(throws: Notice.Fault.self, "\(wrong)") {
                try Notice.payload(type: "n", data: Array(wrong.utf8))
            }
        }
    }

    /// Gateways check the envelope, which nests its data one level deeper.
    @Test func dataMayNestOneLevelLessThanTheEnvelope() throws {
        let nested = { (depth: Int) in
            Array(String(repeating: "[", count: depth).utf8)
                + Array(String(repeating: "]", count: depth).utf8)
        }
        #expect(throws: Never.self) { try Notice.payload(type: "n", data: nested(511)) }
        #expect(throws: Notice.Fault.self) { try Notice.payload(type: "n", data: nested(512)) }
        let line = { (depth: Int) in Array(#"{"room":"a","data":"#.utf8) + nested(depth) + [0x7D] }
        #expect(throws: Never.self) { try Notice(line: line(511), defaultType: "n") }
        #expect(throws: Notice.Fault.self) { try Notice(line: line(512), defaultType: "n") }
    }

    @Test func clusterHasNoDurableNoticesForRoomsWithBraces() throws {
        let line = Array(#"{"room":"a{b}","data":1}"#.utf8)
        let fault = #expect(throws: Notice.Fault.self) {
            try Notice(line: line, defaultType: "n", isDurable: true, isCluster: true)
        }
        #expect(fault?.description == "in a Redis Cluster a room with { or } has no durable notices")
        #expect(throws: Never.self) { try Notice(line: line, defaultType: "n", isDurable: true) }
        #expect(throws: Never.self) { try Notice(line: line, defaultType: "n", isCluster: true) }
    }

    @Test func durableLinesMayHaveAKey() throws {
        let line = Array(#"{"room":"a","data":1,"once":"k\u00e9"}"#.utf8)
        let notice = try Notice(line: line, defaultType: "n", isDurable: true)
        #expect(notice.once == OnceKey("ké"))
        #expect(String(decoding: notice.payload, as: UTF8.self) == #"{"type":"n","data":1}"#)
        for (line, expected) in [
            (#"{"room":"a","data":1,"once":1}"#, "\"once\" is not a string of 1 to 256 bytes"),
            (#"{"room":"a","data":1,"once":""}"#, "\"once\" is not a string"),
            (
                #"{"room":"a","data":1,"ones":"x"}"#,
                "unknown member \"ones\", expected room, type, data, once"
            ),
        ] {
            let fault = #expect(throws: Notice.Fault.self) {
                try Notice(line: Array(line.utf8), defaultType: "n", isDurable: true)
            }
            #expect(fault?.description.hasPrefix(expected) == true, "\(String(describing: fault))")
        }
    }

    /// The envelope `{"type":"n","data":""}` takes 22 bytes.
    @Test func durableNoticesAreBounded() throws {
        func line(_ count: Int) -> [UInt8] {
            Array((#"{"room":"a","data":""# + String(repeating: "x", count: count) + #""}"#).utf8)
        }
        let largest = DurableNotice.maximumBytes - 22
        #expect(
            try Notice(line: line(largest), defaultType: "n", isDurable: true).payload.count
                == DurableNotice.maximumBytes)
        #expect(throws: Notice.Fault.self) {
            try Notice(line: line(largest + 1), defaultType: "n", isDurable: true)
        }
        #expect(throws: Never.self) { try Notice(line: line(largest + 1), defaultType: "n") }
    }
}

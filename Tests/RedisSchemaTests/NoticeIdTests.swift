import Testing

@testable import RedisSchema

@Suite struct NoticeIdTests {
    @Test(arguments: [
        "0-0", "0-1", "1795969278590-57", "1795969278590-0", "9999999999999999-9999999999999999",
    ])
    func writtenAsItWasRead(text: String) throws {
        let id = try #require(NoticeId(text))
        #expect(id.description == text)
        var bytes: [UInt8] = []
        id.append(to: &bytes)
        #expect(bytes == Array(text.utf8))
        #expect(bytes.count <= NoticeId.maximumBytes)
    }

    @Test(arguments: [
        "", "-", "1", "1-", "-1", "1-1-1", "01-1", "1-01", "00-1", "1-00", "1--1", "+1-1", "1-1 ", " 1-1",
        "1_1", "12345678901234567-1", "1-12345678901234567", "a-1", "1-a",
    ])
    func otherFormsAreRefused(text: String) {
        #expect(NoticeId(text) == nil)
    }

    @Test func timeGoesBeforeNumber() {
        let ids = ["1-0", "1-1", "1-2", "1-10", "2-0", "2-1", "10-1"].map { NoticeId($0)! }
        #expect(ids.reversed().sorted() == ids)
    }

    @Test func headOfADurableFrameHasTheId() {
        for room in ["a", "lobby", "Ünïcode \u{1F600}", "say \"hi\"", "back\\slash", "\"", "\\\\"] {
            let escaped = room.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined()
            let frame = Array(
                #"{"id":"1795969278590-57","room":"\#(escaped)","type":"notice","data":{}}"#.utf8)
            #expect(head(frame, room) == NoticeId("1795969278590-57"), "\(room)")
            #expect(head(frame, "other") == nil, "\(room)")
            #expect(head(frame, room + "x") == nil, "\(room)")
            // A frame that ends anywhere inside its head is none.
            let headBytes = frame.count - #""type":"notice","data":{}}"#.utf8.count
            for count in 0..<headBytes { #expect(head(Array(frame[..<count]), room) == nil) }
            #expect(head(Array(frame[..<headBytes]), room) != nil)
        }
    }

    @Test(arguments: [
        "", "{", #"{"id":"#, #"{"id":""#, #"{"id":""}"#, #"{"type":"notice","data":{"text":"Hello"}}"#,
        #"{"id":"1-2","room":"a"}"#, #"{"id":"01-2","room":"a","type":"notice"}"#,
        #"{"id":"1-2", "room":"a","type":"notice"}"#, #"{"id":"1-2","rooms":"a","type":"notice"}"#,
        #"{"id":1,"room":"a","type":"notice"}"#, #"{"ID":"1-2","room":"a","type":"notice"}"#,
        #" {"id":"1-2","room":"a","type":"notice"}"#, #"{"id":"1-2","room":"a""type":"notice"}"#,
    ])
    func plainPayloadsHaveNoId(payload: String) {
        #expect(head(Array(payload.utf8), "a") == nil)
    }

    private func head(_ payload: [UInt8], _ room: String) -> NoticeId? {
        payload.withUnsafeBytes { NoticeId(head: $0, room: RoomId(room)!) }
    }
}

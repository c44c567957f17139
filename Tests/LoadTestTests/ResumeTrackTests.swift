import RedisSchema
import Testing

@testable import LoadTest

@Suite struct ResumeTrackTests {
    private func take(_ text: String, _ track: inout ResumeTrack) -> ResumeTrack.Frame {
        Array(text.utf8).withUnsafeBytes { track.take($0) }
    }

    private func track() -> ResumeTrack {
        ResumeTrack([RoomName.id(room: 0, run: 0xab), RoomName.id(room: 1, run: 0xab)])
    }

    private let resume =
        #"{"type":"resume","data":{"rooms":[{"room":"load-ab-0","since":"k3f9x2ab.7-5","lost":false},"#
        + #"{"room":"load-ab-1","since":"k3f9x2ab.3-0","lost":true}]}}"#

    @Test func aNoticeMovesThePositionOfItsRoom() {
        var track = track()
        #expect(track.since == ",")
        #expect(take(resume, &track) == .resume(lossCount: 1))
        #expect(track.since == "k3f9x2ab.7-5,k3f9x2ab.3-0")
        #expect(take(#"{"id":"9-1","room":"load-ab-1","type":"notice"}"#, &track) == .notice)
        #expect(track.since == "k3f9x2ab.7-5,k3f9x2ab.9-1")
    }

    @Test func otherFramesMoveNothing() {
        var track = track()
        _ = take(resume, &track)
        for text in ["", "{}", #"{"id":"9-1","room":"load-ab-2","type":"notice"}"#, #"{"type":"notice"}"#] {
            #expect(take(text, &track) == .unknown)
        }
        #expect(track.since == "k3f9x2ab.7-5,k3f9x2ab.3-0")
    }
}

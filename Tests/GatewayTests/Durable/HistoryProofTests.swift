import RedisSchema
import Testing

@testable import Gateway

/// Every row of the table of proofs, for clients and for nodes.
@Suite struct HistoryProofTests {
    private static let age: Int64 = 600_000
    private static let now: Int64 = 10_000_000

    private func entries(_ ids: String...) -> [HistoryEntry<String>] {
        ids.map { HistoryEntry(id: NoticeId($0)!, frame: "frame \($0)", memoryBytes: 1) }
    }

    private func state(
        first: String?, maximumDeleted: String = "0-0", time: Int64 = now
    ) -> StreamState {
        StreamState(
            time: time, first: first.map { NoticeId($0)! }, maximumDeleted: NoticeId(maximumDeleted)!)
    }

    private func proof(_ position: String, _ entries: [HistoryEntry<String>]) -> HistoryProof<String> {
        HistoryProof(position: NoticeId(position)!, entries: entries)
    }

    private func ofClient(
        _ position: String, _ entries: [HistoryEntry<String>], _ state: StreamState?
    ) -> HistoryProof<String>.Verdict {
        proof(position, entries).verdict(state: state, historyAge: Self.age)
    }

    private func ofNode(
        _ position: String, _ entries: [HistoryEntry<String>], _ state: StreamState?,
        last: LastFrame<String> = .unknown, outage: Int64 = 0
    ) -> HistoryProof<String>.Verdict {
        proof(position, entries).verdict(last: last, state: state, outage: outage, historyAge: Self.age)
    }

    @Test func positionThatIsThereIsProvenAndNotMissed() {
        let proof = proof("500-7", entries("500-7", "501-8"))
        #expect(proof.verdict(state: nil, historyAge: Self.age) == .proven)
        #expect(proof.missed.map(\.id.description) == ["501-8"])
        #expect(ofClient("500-7", entries("500-7"), nil) == .proven)
        #expect(ofNode("500-7", entries("500-7"), nil, outage: .max) == .proven)
    }

    @Test func nodeComparesTheBytes() {
        let reply = entries("500-7", "501-8")
        #expect(ofNode("500-7", reply, nil, last: .known("frame 500-7")) == .proven)
        #expect(ofNode("500-7", reply, nil, last: .known("another")) == .lost(.rollback))
        #expect(ofNode("500-7", reply, nil, last: .known(nil)) == .lost(.rollback))
    }

    @Test func clientsPositionThatIsNotThereIsLost() {
        for reply in [entries(), entries("501-8"), entries("600-1"), entries("500-8")] {
            #expect(ofClient("500-7", reply, nil) == .lost(.trimmed))
        }
    }

    @Test func clientWithoutAStreamIsProvenWithinTheAge() {
        let since = "9999000-0"
        #expect(ofClient(since, entries(), nil) == .undecided)
        #expect(ofClient(since, entries(), state(first: nil)) == .proven)
        #expect(ofClient(since, entries("9999500-1"), state(first: "9999500-1")) == .proven)
        #expect(proof(since, entries("9999500-1", "9999501-2")).missed.count == 2)
        // The first of them is gone.
        #expect(ofClient(since, entries("9999500-2"), state(first: "9999500-2")) == .lost(.trimmed))
        // A clock that went back has dated the new stream before the position.
        #expect(ofClient(since, entries(), state(first: "9998000-1")) == .lost(.expired))
    }

    @Test func clientWithoutAStreamIsLostBeyondTheAge() {
        let start = Self.now - Self.age
        #expect(ofClient("\(start)-0", entries(), state(first: nil)) == .lost(.expired))
        #expect(ofClient("\(start + 1)-0", entries(), state(first: nil)) == .proven)
        #expect(ofClient("\(Self.now)-0", entries(), state(first: nil)) == .proven)
        // From the future.
        #expect(ofClient("\(Self.now + 1)-0", entries(), state(first: nil)) == .lost(.expired))
    }

    @Test func nodeWithoutAStreamIsProvenWithinTheAge() {
        #expect(ofNode("1000-0", entries(), nil) == .undecided)
        #expect(ofNode("1000-0", entries(), state(first: nil), outage: Self.age - 1) == .proven)
        #expect(ofNode("1000-0", entries(), state(first: nil), outage: Self.age) == .lost(.expired))
        #expect(ofNode("1000-0", entries("1001-1"), state(first: "1001-1"), outage: 5) == .proven)
        #expect(ofNode("1000-0", entries("1001-3"), state(first: "1001-3"), outage: 5) == .lost(.trimmed))
        #expect(ofNode("1000-0", entries(), state(first: "999-1"), outage: 5) == .lost(.expired))
        #expect(ofNode("1000-0", entries(), state(first: "999-2"), outage: 5) == .lost(.rollback))
    }

    @Test func streamThatHasRunOutIsProvenOnANode() {
        let old = "\(Self.now - Self.age)-7"
        let young = "\(Self.now - Self.age + 1)-7"
        #expect(ofNode(old, entries(), nil) == .undecided)
        #expect(ofNode(old, entries(), state(first: nil), outage: Self.age - 1) == .proven)
        #expect(ofNode(old, entries("9999999-1"), state(first: "9999999-1"), outage: 5) == .proven)
        #expect(ofNode(old, entries(), state(first: nil), outage: Self.age) == .lost(.expired))
        #expect(ofNode(young, entries(), state(first: nil), outage: 5) == .lost(.expired))
        #expect(ofNode(old, entries("9999999-2"), state(first: "9999999-2"), outage: 5) == .lost(.trimmed))
    }

    @Test func streamThatBeginsBeforeThePositionIsEvidence() {
        #expect(ofNode("500-7", entries(), state(first: "400-2")) == .lost(.rollback))
        #expect(ofNode("500-7", entries("501-7"), state(first: "400-2")) == .lost(.rollback))
        // An operator has taken it out.
        #expect(
            ofNode("500-7", entries(), state(first: "400-2", maximumDeleted: "500-7")) == .lost(.deleted))
        #expect(
            ofNode("500-7", entries(), state(first: "400-2", maximumDeleted: "499-6")) == .lost(.rollback))
    }

    @Test func trimmedPositionIsLostWithoutEvidence() {
        #expect(ofNode("500-7", entries("502-9"), state(first: "502-9")) == .lost(.trimmed))
    }
}

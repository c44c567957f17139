import EventLoop
import Network
import Synchronization
import Testing

@testable import Gateway

@Suite struct AdmissionTests {
    private let now = MonotonicInstant(nanoseconds: 3_000_000_000)

    private func admission(_ options: String...) throws -> Admission {
        Admission(try configuration(options))
    }

    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test func withoutLimitsEverybodyIsAdmitted() throws {
        let admission = try admission()
        let address = try address("192.0.2.1")
        for _ in 0..<10_000 { #expect(admission.admit(address, now: now) == .admitted) }
        for _ in 0..<10_000 { #expect(admission.mayHaveToken(address, now: now)) }
        for _ in 0..<10_000 { admission.release(address) }
    }

    @Test func addressesOfOneNetworkOf64BitsShareTheirPlaces() throws {
        let admission = try admission("--maximum-connections-per-address", "2")
        #expect(admission.admit(try address("2001:db8:0:1::1"), now: now) == .admitted)
        #expect(admission.admit(try address("2001:db8:0:1:ffff::2"), now: now) == .admitted)
        #expect(admission.admit(try address("2001:db8:0:1::3"), now: now) == .tooManyOfAddress)
        #expect(admission.admit(try address("2001:db8:0:2::1"), now: now) == .admitted)
        #expect(admission.admit(try address("192.0.2.1"), now: now) == .admitted)
        admission.release(try address("2001:db8:0:1:ffff::2"))
        #expect(admission.admit(try address("2001:db8:0:1::3"), now: now) == .admitted)
    }

    @Test func handshakeRateIsTheNodes() throws {
        let admission = try admission("--handshake-rate", "2")
        #expect(admission.admit(try address("192.0.2.1"), now: now) == .admitted)
        #expect(admission.admit(try address("192.0.2.2"), now: now) == .admitted)
        #expect(
            admission.admit(try address("192.0.2.3"), now: now) == .tooManyHandshakes(retryAfterSeconds: 1))
        #expect(admission.admit(try address("192.0.2.3"), now: now + .milliseconds(500)) == .admitted)
    }

    @Test func whoIsRefusedForTheRateHoldsNoPlace() throws {
        let admission = try admission("--handshake-rate", "1", "--maximum-connections-per-address", "2")
        let address = try address("192.0.2.1")
        #expect(admission.admit(address, now: now) == .admitted)
        for _ in 0..<5 {
            #expect(admission.admit(address, now: now) != .tooManyOfAddress)
        }
        #expect(admission.admit(address, now: now + .seconds(1)) == .admitted)
        #expect(admission.admit(address, now: now + .seconds(2)) == .tooManyOfAddress)
    }

    @Test func tokensAreLimitedByAddress() throws {
        let admission = try admission("--token-rate-per-address", "3")
        let (first, second) = (try address("192.0.2.1"), try address("192.0.2.2"))
        #expect((0..<10).filter { _ in admission.mayHaveToken(first, now: now) }.count == 3)
        #expect((0..<10).filter { _ in admission.mayHaveToken(second, now: now) }.count == 3)
        #expect((0..<10).filter { _ in admission.mayHaveToken(first, now: now + .seconds(1)) }.count == 3)
    }

    @Test func tokensOfANodeAreLimited() throws {
        let admission = try admission("--token-rate", "2")
        #expect((0..<4).map { _ in admission.takeToken(now: now) } == [nil, nil, 1, 1])
        #expect(admission.takeToken(now: now + .milliseconds(500)) == nil)
        let unlimited = try self.admission("--token-rate", "0")
        #expect((0..<10_000).allSatisfy { _ in unlimited.takeToken(now: now) == nil })
        let usual = try self.admission()
        #expect((0..<10_000).filter { _ in usual.takeToken(now: now) == nil }.count == 2_000)
    }

    /// Workers that ask at the same time are never given more than there is.
    @Test func workersShareOneLimit() throws {
        let admission = try admission("--maximum-connections-per-address", "3")
        let address = try address("192.0.2.1")
        let taken = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let threads = try (0..<4).map { index in
            try LoopThread(name: "worker \(index)") { _ in
                for _ in 0..<5_000 where admission.admit(address) == .admitted {
                    let count = taken.add(1, ordering: .sequentiallyConsistent).newValue
                    most.max(count, ordering: .sequentiallyConsistent)
                    taken.subtract(1, ordering: .sequentiallyConsistent)
                    admission.release(address)
                }
            }
        }
        for thread in threads { thread.join() }
        #expect((1...3).contains(most.load(ordering: .relaxed)))
        for _ in 0..<3 { #expect(admission.admit(address) == .admitted, "every place was given back") }
        #expect(admission.admit(address) == .tooManyOfAddress)
    }
}

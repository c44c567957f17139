import EventLoop
import Network
import Testing

@testable import Gateway

@Suite struct KeyAttemptsTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)
    private let address = IPAddress("192.0.2.1")!

    @Test func fewAtOnceAndThenOneASecond() {
        var attempts = KeyAttempts()
        for _ in 0..<5 {
            #expect(attempts.mayTry(address, now: start))
            attempts.failed(address, now: start)
        }
        #expect(!attempts.mayTry(address, now: start))
        #expect(!attempts.mayTry(address, now: start + .milliseconds(999)))
        #expect(attempts.mayTry(address, now: start + .seconds(1)))
        attempts.failed(address, now: start + .seconds(1))
        #expect(!attempts.mayTry(address, now: start + .seconds(1)))
        #expect(attempts.mayTry(address, now: start + .seconds(2)))
    }

    @Test func othersArePutOffByNobody() {
        var attempts = KeyAttempts()
        for _ in 0..<9 { attempts.failed(address, now: start) }
        #expect(attempts.mayTry(IPAddress("192.0.2.2")!, now: start))
        // All addresses of a host's own network count as one.
        for _ in 0..<5 { attempts.failed(IPAddress("2001:db8::1")!, now: start) }
        #expect(!attempts.mayTry(IPAddress("2001:db8::2")!, now: start))
        #expect(attempts.mayTry(IPAddress("2001:db8:0:1::1")!, now: start))
    }

    @Test func tableIsBounded() {
        var attempts = KeyAttempts()
        for number in 0..<UInt32(3 * Limits.keyAttemptAddressCount) {
            attempts.failed(IPAddress(v4: number), now: start)
            #expect(attempts.addressCount <= Limits.keyAttemptAddressCount)
        }
        for number in 0..<UInt32(Limits.keyAttemptAddressCount) {
            attempts.failed(IPAddress(v4: number), now: start + .seconds(60))
        }
        #expect(attempts.addressCount <= Limits.keyAttemptAddressCount)
    }
}

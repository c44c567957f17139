import EventLoop
import Foundation
import Testing

@testable import Gateway

@Suite struct RedisLogTests {
    /// The lines that a node with two workers writes, without their time and its id.
    private func lines(_ output: [UInt8]) -> [String] {
        String(decoding: output, as: UTF8.self).split(separator: "\n").filter { $0.hasSuffix(" node=n1") }
            .map { String($0.drop { $0 != " " }.dropFirst().dropLast(" node=n1".count)) }
    }

    @Test func eachTroubleIsToldOnceForTheNodeAndItsEndOnce() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var log = RedisLog(Log(level: .info, format: .text, nodeID: "n1"), neededCount: 3)
            for _ in 0..<5 {
                log.down(.feed(0), "AUTH: WRONGPASS no")
                log.down(.worker(0), "AUTH: WRONGPASS no")
                log.down(.worker(1), "AUTH: WRONGPASS no")
            }
            log.isUp(.worker(0))
            log.isUp(.feed(0))
            log.down(.worker(1), "refused")
            log.isUp(.worker(1))
            log.down(.feed(0), "no answer for 3750 ms")
            log.down(.worker(0), "no answer for 3999 ms")
            log.down(.feed(0), "refused")
            log.isUp(.feed(0))
            log.down(.feed(0), "refused")
            log.isUp(.feed(0))
            log.isUp(.worker(0))
            exit(0)
        }
        #expect(
            lines(try #require(result).standardErrorContent) == [
                "warning redis unreachable role=subscriber reason=\"AUTH: WRONGPASS no\"",
                "warning redis unreachable role=\"worker 1\" reason=refused",
                "info redis connected",
                "warning redis connection lost role=subscriber reason=\"no answer for 3750 ms\"",
                "warning redis connection lost role=subscriber reason=refused",
                "info redis connection restored",
            ])
    }

    @Test func refusedCommandsAreToldWhenTheyAreNews() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var log = RedisLog(Log(level: .info, format: .text, nodeID: "n1"), neededCount: 3)
            let start = MonotonicInstant(nanoseconds: 1)
            for second in 0..<90 {
                log.refused("renew", "OOM used \(second)", now: start + .seconds(second))
            }
            log.refused("PTTL", "NOPERM no", now: start + .seconds(90))
            log.refused("PUBLISH", "NOPERM no", now: start + .seconds(91))
            log.refused("PTTL", "NOPERM no", now: start + .seconds(92))
            log.refused("issue", "OOM again", now: start + .seconds(148))
            log.refused(
                "attach", "OOM news\u{1B}[2J script: 1f, on @user_script:2.", now: start + .seconds(208))
            exit(0)
        }
        #expect(
            lines(try #require(result).standardErrorContent) == [
                "warning redis refuses commands command=renew reason=\"OOM used 0\"",
                "warning redis refuses commands command=PTTL reason=\"NOPERM no\"",
                "warning redis refuses commands command=PUBLISH reason=\"NOPERM no\"",
                "warning redis refuses commands command=attach reason=\"OOM news?[2J\"",
            ])
    }

    /// However many workers find it out, and however often it comes again.
    @Test func endOfRefusalsIsToldOnce() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var log = RedisLog(Log(level: .info, format: .text, nodeID: "n1"), neededCount: 3)
            let start = MonotonicInstant(nanoseconds: 1)
            for round in 0..<2 {
                for worker in 0..<2 {
                    log.refused("probe", "MISCONF no disk", now: start + .seconds(round))
                    log.writes(worker: worker, isRefusing: true)
                }
                for worker in [0, 1, 1] { log.writes(worker: worker, isRefusing: false) }
            }
            exit(0)
        }
        let episode = [
            "warning redis refuses commands command=probe reason=\"MISCONF no disk\"",
            "info redis accepts commands again",
        ]
        #expect(lines(try #require(result).standardErrorContent) == episode + episode)
    }

    @Test func sentinelsAreToldApartAsTheNodeServesWithoutThem() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var log = RedisLog(Log(level: .info, format: .text, nodeID: "n1"), neededCount: 1)
            log.isUp(.sentinel)
            log.isUp(.feed(0))
            for _ in 0..<3 { log.down(.sentinel, "refused") }
            log.isUp(.sentinel)
            log.isUp(.sentinel)
            exit(0)
        }
        #expect(
            lines(try #require(result).standardErrorContent) == [
                "info redis connected",
                "warning sentinel connection lost reason=refused",
                "info sentinel connection restored",
            ])
    }
}

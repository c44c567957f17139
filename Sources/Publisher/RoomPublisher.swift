// One notice to each of the rooms of a call, at each of its servers. Main thread.

import Options
import Redis
import RedisSchema

/// Publishes to rooms and tells the outcome of each at each server.
struct RoomPublisher {
    let job: Job
    let rooms: [RoomId]
    let payload: [UInt8]
    let targets: [Target]
    var console: Console

    /// Publishes to all rooms, or until a signal; a refusal for one room does not keep the others from it.
    ///
    /// - Returns: the exit code: 0 when every room's notice was published everywhere, else 1, or 128 and the
    ///   signal's number.
    mutating func run() -> Int32 {
        for (index, room) in rooms.enumerated() where Interruption.requested == nil {
            let notice = Notice(room: room, payload: payload)
            for target in targets {
                complain(
                    target,
                    target.attempt { (window) throws(RedisSessionError) in
                        try window.publish(notice, tag: index)
                    })
            }
        }
        for (target, error) in Target.drain(targets) { complain(target, error) }
        var code: Int32 = 0
        for target in targets {
            let own = report(results(of: target), of: target)
            if code == 0 { code = own }
        }
        return console.exitCode(code)
    }

    private mutating func complain(_ target: Target, _ error: RedisSessionError?) {
        if let error { console.complain(target.line(error.description)) }
    }

    private func results(of target: Target) -> [RoomResult] {
        var results = [RoomResult](repeating: .unsent, count: rooms.count)
        guard let window = target.window else { return results }
        for (index, answer) in window.takeAnswers() {
            results[index] = .answered(answer)
        }
        for index in window.unanswered { results[index] = .unanswered }
        return results
    }

    /// Tells each room's result, in the order of the call.
    private mutating func report(_ results: [RoomResult], of target: Target) -> Int32 {
        var publishedCount = 0
        var isShort = false
        for (room, result) in zip(rooms, results) {
            if job.isJson { console.result(result.json(room: room, target: target.name)) }
            if result.isPublished {
                publishedCount += 1
                if !job.isJson && !job.isQuiet { console.result(target.line(result.text(room: room))) }
            } else {
                console.complain(target.line(result.text(room: room)))
            }
            guard let shortage = result.shortage else { continue }
            isShort = true
            console.complain(
                target.line("\(DisplayText.text(room.bytes)): stored and pushed, but \(shortage)"))
        }
        if publishedCount == rooms.count { return isShort ? 1 : 0 }
        // What a signal has kept from being sent was not refused.
        let interrupted =
            results.contains { $0 == .unsent || $0 == .unanswered } ? Interruption.exitCode : nil
        let word = interrupted == nil ? "" : "interrupted: "
        console.complain(target.line("\(word)published to \(publishedCount) of \(rooms.count) rooms"))
        return interrupted ?? 1
    }
}

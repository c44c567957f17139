// One notice to each of the rooms of a call. Main thread.

import Options
import RedisSchema

/// Publishes to rooms and tells the outcome of each.
struct RoomPublisher {
    let job: Job
    let rooms: [RoomId]
    let payload: [UInt8]
    var console: Console

    /// Publishes to all rooms, or until a signal; a refusal for one room does not keep the others from it.
    ///
    /// - Returns: the exit code: 0 when every room's notice was published, else 1, or 128 and the signal's
    ///   number.
    mutating func run(_ window: some NoticeWindow) -> Int32 {
        var results = [RoomResult](repeating: .unsent, count: rooms.count)
        do {
            for (index, room) in rooms.enumerated() where Interruption.requested == nil {
                try window.publish(Notice(room: room, payload: payload), tag: index)
            }
            try window.drain()
        } catch {
            console.complain(error.description)
        }
        for (index, answer) in window.takeAnswers() {
            results[index] = .answered(answer)
        }
        for index in window.unanswered { results[index] = .unanswered }
        return report(results)
    }

    /// Tells each room's result, in the order of the call.
    private mutating func report(_ results: [RoomResult]) -> Int32 {
        var publishedCount = 0
        var isShort = false
        for (room, result) in zip(rooms, results) {
            if job.isJson { console.result(result.json(room: room)) }
            if result.isPublished {
                publishedCount += 1
                if !job.isJson && !job.isQuiet { console.result(result.text(room: room)) }
            } else {
                console.complain(result.text(room: room))
            }
            guard let shortage = result.shortage else { continue }
            isShort = true
            console.complain("\(DisplayText.text(room.bytes)): stored and pushed, but \(shortage)")
        }
        if publishedCount == rooms.count { return console.exitCode(isShort ? 1 : 0) }
        // What a signal has kept from being sent was not refused.
        let interrupted =
            results.contains { $0 == .unsent || $0 == .unanswered } ? Interruption.exitCode : nil
        let word = interrupted == nil ? "" : "interrupted: "
        console.complain("\(word)published to \(publishedCount) of \(rooms.count) rooms")
        return console.exitCode(interrupted ?? 1)
    }
}

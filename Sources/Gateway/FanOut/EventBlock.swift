// Blocks of an event stream (HTML Living Standard, section 9.2.6). Pure, any thread.
//
//     id: k3f9x2ab.1795969278590-57            where the stream resumes behind this notice
//     data: {"id":"1795969278590-57",
//     data: "room":"lobby","type":"notice"}
//                                              an empty line hands the notice to the page

import Bytes
import JSON
import RedisSchema

/// Makes what goes over an event stream: notices, which are unnamed events, positions, and the goodbye.
enum EventBlock {
    private static let idStart: StaticString = "id: "
    private static let dataStart: StaticString = "data: "
    private static let nextLine: StaticString = "\ndata: "
    private static let end: StaticString = "\n\n"

    /// An event with `payload`, each of whose lines becomes one of the event's: a client puts them together
    /// with line feeds, whatever stood between them.
    ///
    /// - Parameter positions: where the stream resumes behind the event, in the order of its rooms or in the
    ///   notice's alone; empty leaves that as it is.
    static func event(
        _ payload: UnsafeRawBufferPointer, behind positions: [HistoryPosition?] = []
    ) -> SharedBytes {
        var bytes = idLine(positions)
        bytes.reserveCapacity(byteCount(of: payload, idBytes: bytes.count))
        bytes.append(dataStart)
        var start = 0
        while let lineBreak = firstBreak(in: payload, from: start) {
            bytes.append(contentsOf: payload[start..<lineBreak.lowerBound])
            bytes.append(nextLine)
            start = lineBreak.upperBound
        }
        bytes.append(contentsOf: payload[start...])
        bytes.append(end)
        return .copying(bytes)
    }

    /// The memory that an event with `payload` takes, at most.
    static func memoryBytes(of payload: UnsafeRawBufferPointer, hasPosition: Bool) -> Int {
        let idBytes = idStart.utf8CodeUnitCount + HistoryPosition.maximumBytes + 1
        return byteCount(of: payload, idBytes: hasPosition ? idBytes : 0) + SharedBytes.overheadBytes
    }

    /// How long an event with `payload` is.
    static func byteCount(of payload: UnsafeRawBufferPointer, idBytes: Int = 0) -> Int {
        var count = idBytes + dataStart.utf8CodeUnitCount + payload.count + end.utf8CodeUnitCount
        var start = 0
        while let lineBreak = firstBreak(in: payload, from: start) {
            count += nextLine.utf8CodeUnitCount - lineBreak.count
            start = lineBreak.upperBound
        }
        return count
    }

    /// Sets where the stream resumes, without an event.
    static func position(_ positions: [HistoryPosition?]) -> SharedBytes {
        .copying(idLine(positions) + [Ascii.lineFeed])
    }

    /// Goes with the head of the answer: spreads the reconnections if the node dies.
    static var opening: [UInt8] { Array("retry: \(spreadRetry)\n\n".utf8) }

    /// A comment: keeps proxies from taking the stream for dead.
    static let keepAlive = SharedBytes.copying([UInt8](":\n\n".utf8))

    /// The event that ends a stream, with the code of a WebSocket's Close frame.
    static func close(_ reason: CloseReason) -> SharedBytes {
        guard let code = reason.code else { preconditionFailure("a peer that is gone gets no goodbye") }
        let data = JsonWriter.object {
            $0.member("code", Int64(code.rawValue))
            $0.member("reason", reason.text)
        }
        let retry = retry(behind: reason).map { "retry: \($0)\n" } ?? ""
        return .copying([UInt8]("\(retry)event: close\ndata: ".utf8) + data + end.rawBytes)
    }

    // MARK: Parts

    /// An `EventSource` comes back by itself unless its page closes it.
    private static func retry(behind reason: CloseReason) -> Int64? {
        switch reason {
        case .goingAway: spreadRetry
        case .replaced, .revoked: Limits.eventStreamAbsence.wholeMilliseconds
        default: nil
        }
    }

    private static var spreadRetry: Int64 {
        .random(
            in: Limits.eventStreamRetry.lowerBound
                .wholeMilliseconds...Limits.eventStreamRetry.upperBound.wholeMilliseconds)
    }

    private static func idLine(_ positions: [HistoryPosition?]) -> [UInt8] {
        guard positions.contains(where: { $0 != nil }) else { return [] }
        return idStart.rawBytes + [UInt8](SinceList.text(positions).utf8) + [Ascii.lineFeed]
    }

    /// The next line feed, carriage return, or both in this order.
    private static func firstBreak(in bytes: UnsafeRawBufferPointer, from start: Int) -> Range<Int>? {
        var offset = start
        while bytes.count - offset >= Word.bytes {
            let word = Word.load(bytes, at: offset)
            let found =
                Word.marks(of: Ascii.lineFeed, in: word) | Word.marks(of: Ascii.carriageReturn, in: word)
            if found != 0 { return lineBreak(in: bytes, at: offset + Word.firstIndex(found)) }
            offset += Word.bytes
        }
        while offset < bytes.count {
            if bytes[offset] == Ascii.lineFeed || bytes[offset] == Ascii.carriageReturn {
                return lineBreak(in: bytes, at: offset)
            }
            offset += 1
        }
        return nil
    }

    private static func lineBreak(in bytes: UnsafeRawBufferPointer, at start: Int) -> Range<Int> {
        let isPair =
            bytes[start] == Ascii.carriageReturn && start + 1 < bytes.count
            && bytes[start + 1] == Ascii.lineFeed
        return start..<start + (isPair ? 2 : 1)
    }
}

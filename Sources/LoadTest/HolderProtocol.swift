// What coordinator and load processes say to each other: one JSON object a line over a socket pair.

import EventLoop
import FoundationEssentials

/// The descriptors that a load process inherits.
enum HolderDescriptors {
    static let control: Int32 = 3
    static let board: Int32 = 4
    /// Eight bytes for each message that all receivers of the process have: room in the high half, sequence
    /// number in the low one, in the machine's order. Written in one piece (below PIPE_BUF).
    static let completions: Int32 = 5
}

/// What the coordinator sends to a load process, in this order.
enum HolderOrder: Codable, Sendable {
    /// Which process it is and what it holds; it fetches tokens at once.
    case prepare(HolderPlan)
    case connect
    /// Messages begin to flow; connections come and go from now on, if they are to.
    case run
    /// This many messages were sent and no more will be: wait for what is missing, then report.
    case settle(publishedCount: Int)
}

/// What a load process reports.
enum HolderNews: Codable, Sendable {
    case prepared(TokenReport)
    case connected(ConnectReport)
    case settled(HolderReport)
    case failed(String)
}

/// The share of one process.
struct HolderPlan: Codable, Sendable {
    var process: Int
    var processCount: Int
    /// Over all processes; client i belongs to process i mod `processCount`.
    var clientCount: Int
    var load: LoadPlan.Load
    var run: UInt32
}

struct TokenReport: Codable, Sendable {
    var issuedCount = 0
    var failures: [String: Int] = [:]
    /// Requests that the server postponed, by status code; each was followed by another.
    var postponed: [String: Int] = [:]
}

struct ConnectReport: Codable, Sendable {
    var openedCount = 0
    /// How many attempts ended with which answer.
    var failures: [String: Int] = [:]
    /// Attempts that the server postponed, by status code; each was followed by another.
    var postponed: [String: Int] = [:]
    /// From the first packet to the 101, in nanoseconds.
    var latency = Histogram()
    /// For each room, the connections that read.
    var receiverCounts: [Int] = []
}

struct HolderReport: Codable, Sendable {
    var deliveries = DeliveryCounts()
    /// Deliveries of messages that were sent in the measured span.
    var measuredCount = 0
    /// From publishing to arrival, in nanoseconds; measured span only.
    var latency = Histogram()
    var heartbeatCount = 0
    var heartbeatFailures: [String: Int] = [:]
    /// HTTP connections for tokens and heartbeats.
    var httpConnectionCount = 0
    /// Connections that the server ended, by close code or error.
    var serverCloses: [String: Int] = [:]
    var slowCount = 0
    /// Of the slow ones, found when they read again in the end.
    var slowCloses: [String: Int] = [:]
    /// Connections that left and came back.
    var churnedCount = 0
    var churnFailures: [String: Int] = [:]
    /// Returns that the server postponed, by status code; each was followed by another.
    var churnPostponed: [String: Int] = [:]
    /// nil unless clients were to go to another gateway.
    var failover: FailoverReport?
}

/// Adds up counts by name.
func += (left: inout [String: Int], right: [String: Int]) {
    left.merge(right) { $0 + $1 }
}

/// A socket that carries lines of JSON both ways. Loop-confined.
final class JsonLines<Incoming: Decodable>: SocketWatcher {
    /// A report of a hundred thousand rooms is a few hundred KiB.
    private static var maximumLineBytes: Int { 16 << 20 }

    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var onValue: (Incoming) -> Void
    private var onEnd: (String) -> Void

    /// - Parameter onEnd: the other side is gone, or spoke nonsense: the reason. Called once.
    init(
        _ socket: Socket, on loop: EventLoop, onEnd: @escaping (String) -> Void,
        onValue: @escaping (Incoming) -> Void
    ) {
        self.onValue = onValue
        self.onEnd = onEnd
        super.init(socket: socket, loop: loop)
    }

    func send(_ value: some Encodable) {
        do {
            output += Array(try JSONEncoder().encode(value)) + [0x0A]
        } catch {
            preconditionFailure("a message has no JSON form: \(error)")
        }
        flush()
    }

    /// Ends the conversation; `onEnd` is not called.
    func close() {
        guard isWatching else { return }
        stopWatching()
        socket.close()
    }

    override func socketIsWritable() { flush() }

    override func socketIsReadable() {
        let transfer = withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
            let transfer = socket.read(into: buffer)
            if case .bytes(let count) = transfer { input += buffer[..<count] }
            return transfer
        }
        switch transfer {
        case .bytes: takeLines()
        case .wouldBlock: return
        case .endOfStream: end("the other process is gone")
        case .failed(let code): end(SystemError.message(of: code))
        }
    }

    private func takeLines() {
        while isWatching, let lineFeed = input.firstIndex(of: 0x0A) {
            let line = input[..<lineFeed]
            input.removeFirst(lineFeed + 1)
            do {
                onValue(try JSONDecoder().decode(Incoming.self, from: Data(line)))
            } catch {
                end("cannot read a message: \(error)")
            }
        }
        if input.count > Self.maximumLineBytes { end("a message is too long") }
    }

    private func flush() {
        while !output.isEmpty {
            switch output.withUnsafeBytes({ socket.write($0) }) {
            case .bytes(let count): output.removeFirst(count)
            case .wouldBlock:
                watchWritability(true)
                return
            // The reading side finds the end of the connection and reports it.
            case .endOfStream, .failed: output.removeAll()
            }
        }
        watchWritability(false)
    }

    private func end(_ reason: String) {
        guard isWatching else { return }
        stopWatching()
        socket.close()
        onEnd(reason)
    }
}

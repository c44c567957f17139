// A secured connection to a real server, on a way that the input chooses: what the server sends is cut, changed, left
// out, repeated and mixed with bytes and records that it has never sent. Nothing may come out but what it has said, and
// it hears nothing but what the stream was given. Single thread.

import COpenSSL
import Glibc

enum TLSTarget {
    /// Made by scripts/fuzz, for `host`.
    static func certificatePath(_ file: String) -> String {
        guard let directory = getenv("FUZZ_CERTIFICATES") else {
            fatalError("FUZZ_CERTIFICATES is not set: the directory of deploy/redis-certificates")
        }
        return "\(String(cString: directory))/\(file)"
    }

    static let host = "redis.example"
    static let context: TLSContext = {
        do {
            return try TLSContext(TLSSettings(authorityPath: certificatePath("ca.crt")))
        } catch {
            fatalError("\(error)")
        }
    }()

    static func run(_ input: [UInt8], _ random: inout SeededRandom) {
        OpenSSLRandom.restart(seed: random.next())
        let course = TLSCourse(TLSScript(input))
        course.run()
        course.check()
    }
}

/// Reads an input as choices; behind its end all are 0.
struct TLSScript {
    private var rest: ArraySlice<UInt8>

    init(_ input: [UInt8]) { rest = input[...] }

    var isOver: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func count() -> Int { Int(byte()) + 1 }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

/// What happens to one connection.
private final class TLSCourse {
    /// No input of a useful length has more.
    private static let maximumStepCount = 200

    private var script: TLSScript
    private let server: TLSServer
    private let stream: TLSStream
    private let sockets: (near: Socket, far: Socket)
    private let isTrusted: Bool

    /// What the server has sent, and the path still holds.
    private var held: [UInt8] = []
    private var lastDelivered: [UInt8] = []
    /// Whether the client was given anything that the server did not send just then.
    private var isFalsified = false
    private var isUp = false
    private var received: [UInt8] = []
    private var given: [UInt8] = []
    private var end: TLSTransfer?

    init(_ script: TLSScript) {
        var script = script
        let traits = script.byte()
        isTrusted = traits & 2 == 0
        sockets = TLSCourse.socketPair(isSmall: traits & 4 != 0)
        server = TLSServer(isOld: traits & 1 != 0, asksForCertificate: traits & 8 != 0)
        let host = isTrusted ? TLSTarget.host : "other.example"
        stream = TLSStream(TLSPeer(context: TLSTarget.context, host: host), socket: sockets.near)
        self.script = script
        deliver([])
        if traits & 16 == 0 { settle() }
    }

    deinit {
        sockets.near.close()
        sockets.far.close()
    }

    private static func socketPair(isSmall: Bool) -> (Socket, Socket) {
        var descriptors: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &descriptors) == 0 else { fatalError("socketpair: \(errno)") }
        if isSmall {
            var size: Int32 = 1
            setsockopt(descriptors[0], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        return (Socket(descriptor: descriptors[0]), Socket(descriptor: descriptors[1]))
    }

    func run() {
        for _ in 0..<TLSCourse.maximumStepCount where !script.isOver && end == nil { step() }
    }

    private func step() {
        held += server.takeOutput()
        switch script.byte() & 15 {
        case 0: deliverHeld(script.count())
        case 1: deliverHeld(held.count)
        case 2: falsify { $0[Int(script.byte()) % $0.count] ^= 1 << (script.byte() & 7) }
        case 3: falsify { $0.removeFirst(min($0.count, script.count())) }
        case 4: inject(script.bytes(script.count()))
        case 5:
            let content = script.bytes(script.count() - 1)
            let kind = 20 + script.byte() % 5
            inject([kind, 3, 3, UInt8(content.count >> 8), UInt8(content.count & 255)] + content)
        case 6: inject(lastDelivered)
        case 7: server.write(bytes(script.count()))
        case 8: server.write(bytes(script.count() << 8))
        case 9: server.changeKeys(count: script.count() >> 2, asksForTheirs: true)
        case 10: server.changeKeys(count: 1, asksForTheirs: false)
        case 11: server.shutDown()
        case 12: write(script.count())
        case 13: write(script.count() << 8)
        case 14: flush()
        default: hear()
        }
    }

    /// Different ones each time, so that a part in the wrong place shows.
    private func bytes(_ count: Int) -> [UInt8] {
        let start = server.written.count &+ given.count
        return (0..<count).map { UInt8(truncatingIfNeeded: ((start + $0) &* 2_654_435_761) >> 16) }
    }

    // MARK: What the client is given

    private func deliverHeld(_ count: Int) {
        let piece = Array(held.prefix(count))
        held.removeFirst(piece.count)
        deliver(piece)
    }

    private func falsify(_ change: (inout [UInt8]) -> Void) {
        guard !held.isEmpty else { return }
        change(&held)
        isFalsified = true
    }

    private func inject(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        isFalsified = true
        deliver(bytes)
    }

    /// As `RedisContext` does with what a read has brought.
    private func deliver(_ piece: [UInt8]) {
        guard end == nil else { return }
        lastDelivered = piece
        withExactCopy(piece) { bytes in
            stream.supply(UnsafeRawBufferPointer(bytes))
            var transfer = TLSTransfer.bytes(0)
            if !isUp {
                transfer = stream.shakeHands()
                if case .bytes = transfer { isUp = true }
            }
            while case .bytes = transfer { transfer = readOnce() }
            if transfer != .wouldBlock { close(transfer) }
        }
        require(!isUp || isTrusted, "no connection to a server with the name of another")
    }

    private func readOnce() -> TLSTransfer {
        var count = 0
        let transfer = stream.read { bytes in
            count = bytes.count
            received += Array(bytes)
        }
        require(transfer == .bytes(count) || count == 0, "\(transfer) of \(count) bytes")
        require(count <= TLSStream.maximumRecordBytes, "\(count) bytes of a record")
        return transfer
    }

    private func close(_ transfer: TLSTransfer) {
        end = transfer
        let before = received.count
        if case .bytes = readOnce() { fatalError("does not hold: nothing comes behind the end") }
        require(received.count == before, "nothing comes behind the end")
        stream.shutDown()
    }

    // MARK: What the client says

    private func write(_ count: Int) {
        guard isUp else { return }
        let bytes = bytes(count)
        switch bytes.withUnsafeBytes({ stream.write($0) }) {
        case .bytes(let count):
            require((1...min(bytes.count, TLSStream.maximumRecordBytes)).contains(count), "\(count) written")
            given += bytes[..<count]
        case .wouldBlock: require(stream.hasUnsent, "only the socket holds a record back")
        case .endOfStream: fatalError("does not hold: writing sees no end")
        case .failed(let reason): end = .failed(reason)
        }
    }

    private func flush() {
        switch stream.flush() {
        case .bytes: require(!stream.hasUnsent, "all is sent")
        case .wouldBlock: require(stream.hasUnsent, "something is left")
        case .endOfStream: fatalError("does not hold: writing sees no end")
        case .failed(let reason): end = .failed(reason)
        }
    }

    /// The server takes what the socket holds.
    private func hear() {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let transfer = buffer.withUnsafeMutableBytes { sockets.far.read(into: $0) }
            guard case .bytes(let count) = transfer else { return }
            server.take(Array(buffer[..<count]))
        }
    }

    /// Everything goes on its way until nothing is left.
    private func settle() {
        while end == nil {
            flush()
            hear()
            held += server.takeOutput()
            guard !held.isEmpty || stream.hasUnsent else { return }
            deliverHeld(held.count)
        }
    }

    // MARK: What must hold

    func check() {
        require(server.written.starts(with: received), "what came out is what the server has said")
        hear()
        require(given.starts(with: server.received), "the server has heard what the stream was given")
        guard !isFalsified else { return }
        settle()
        guard isTrusted else {
            let reason = "TLS: certificate: hostname mismatch, it is not for other.example"
            return require(end == .failed(reason), "another's certificate: \(end as Any)")
        }
        guard end != .failed("the server does not read"), !server.hasRenegotiated else { return }
        require(
            isUp && end == (server.hasShutDown ? .endOfStream : nil), "the connection stands: \(end as Any)")
        require(received == server.written, "all has come: \(received.count) of \(server.written.count)")
        hear()
        let hasAll = server.received == given || stream.hasUnsent && end != nil
        require(hasAll, "all was heard: \(server.received.count) of \(given.count)")
    }
}

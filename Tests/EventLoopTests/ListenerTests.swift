import Glibc
import TestSupport
import Testing

@testable import EventLoop

/// A blocking connection to a port of 127.0.0.1.
private func connect(to port: UInt16) throws -> Socket {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    try #require(descriptor >= 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    try #require(result == 0)
    return Socket(descriptor: descriptor)
}

@Suite struct ListenerTests {
    @Test func acceptsOnThePortThatTheKernelChose() throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        #expect(listening.port != 0)
        #expect(listening.host == "127.0.0.1")
        let scenario = try Scenario()
        var accepted: [(socket: Socket, peer: PeerAddress)] = []
        let listener = Listener(
            listening, on: scenario.loop, onError: { Issue.record("\($0)") },
            onAccept: { accepted.append(($0, $1)) })
        var client: Socket?
        scenario.step("a connection", until: { accepted.count == 1 }) {
            client = try connect(to: listening.port)
        }
        try scenario.run()
        let (socket, peer) = accepted[0]
        #expect(peer.high == 0)
        #expect(peer.low == 0xffff_7f00_0001)
        #expect(read(socket).0 == .wouldBlock, "accepted sockets do not block")
        #expect(fcntl(socket.descriptor, F_GETFD) == FD_CLOEXEC)
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
        #expect(option(socket, SOL_SOCKET, SO_KEEPALIVE) == 1)
        socket.close()
        client?.close()
        withExtendedLifetime(listener) {}
    }

    /// Those for whom there is no room wait in the kernel, and are taken as soon as there is some.
    @Test func acceptsNoMoreThanThereIsRoomFor() throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let scenario = try Scenario()
        var accepted: [Socket] = []
        var maximumCount = 2
        var askedCount = 0
        let listener = Listener(
            listening, on: scenario.loop, onError: { Issue.record("\($0)") },
            room: {
                askedCount += 1
                return maximumCount - accepted.count
            },
            onAccept: { socket, _ in accepted.append(socket) })
        var clients: [Socket] = []
        let isAsked = { accepted.count == 2 && askedCount >= 2 }
        scenario.step("two connections and the question for a third", until: isAsked) {
            for _ in 0..<5 { clients.append(try connect(to: listening.port)) }
        }
        scenario.then { #expect(accepted.count == 2) }
        scenario.step("one more, as its owner has room", until: { accepted.count == 3 }) {
            maximumCount = 3
            listener.resume()
        }
        scenario.then { #expect(accepted.count == 3) }
        scenario.step("the rest, as it asks by itself", until: { accepted.count == 5 }) { maximumCount = 5 }
        try scenario.run()
        for socket in accepted + clients { socket.close() }
        withExtendedLifetime(listener) {}
    }

    @Test func acceptedSocketsInheritWhatTheirListenerWasGiven() throws {
        let options = AcceptedSocketOptions(
            sendBufferBytes: 32 << 10, userTimeout: .milliseconds(7_500), keepAliveTime: .seconds(20))
        let listening = try ListeningSocket(
            host: "127.0.0.1", port: 0, sharing: .exclusive, options: options)
        let loop = try EventLoop()
        var accepted: [Socket] = []
        let listener = Listener(
            listening, on: loop, onError: { Issue.record("\($0)") },
            onAccept: { socket, _ in accepted.append(socket) })
        let client = try connect(to: listening.port)
        listener.closeWhenEmpty(patience: .zero, onClosed: {})
        try #require(accepted.count == 1)
        let tcp = Int32(IPPROTO_TCP)
        #expect(option(accepted[0], SOL_SOCKET, SO_SNDBUF) == 64 << 10, "the kernel doubles it")
        #expect(option(accepted[0], tcp, TCP_USER_TIMEOUT) == 7_500)
        #expect(option(accepted[0], tcp, TCP_KEEPIDLE) == 20)
        #expect(option(accepted[0], tcp, TCP_KEEPINTVL) == 5)
        #expect(option(accepted[0], tcp, TCP_KEEPCNT) == 3)
        accepted[0].enlargeSendBuffer(byBytes: 16 << 10)
        #expect(option(accepted[0], SOL_SOCKET, SO_SNDBUF) == 96 << 10)
        for socket in accepted + [client] { socket.close() }
    }

    @Test func withoutASizeTheKernelChoosesTheSendBuffer() throws {
        let untouched = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Socket(descriptor: untouched).close() }
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let socket = Socket(descriptor: listening.descriptor)
        defer { socket.close() }
        #expect(
            option(socket, SOL_SOCKET, SO_SNDBUF)
                == option(Socket(descriptor: untouched), SOL_SOCKET, SO_SNDBUF))
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 0)
    }

    @Test func severalSocketsShareAPortWhenAsked() throws {
        let first = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .first)
        defer { Socket(descriptor: first.descriptor).close() }
        let others = try (0..<3).map { _ in
            try ListeningSocket(host: "127.0.0.1", port: first.port, sharing: .further)
        }
        #expect(others.allSatisfy { $0.port == first.port })
        #expect(Set(others.map(\.descriptor) + [first.descriptor]).count == 4)
        for other in others { Socket(descriptor: other.descriptor).close() }
    }

    @Test func firstOfSeveralSocketsSharesWithNobodyBefore() throws {
        let others = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .first)
        defer { Socket(descriptor: others.descriptor).close() }
        for sharing in [ListeningSocket.Sharing.exclusive, .first] {
            let error = #expect(throws: SystemError.self) {
                try ListeningSocket(host: "127.0.0.1", port: others.port, sharing: sharing)
            }
            #expect(error?.code == EADDRINUSE)
        }
    }

    @Test func addressInUseIsNamed() throws {
        let first = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        defer { Socket(descriptor: first.descriptor).close() }
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket(host: "127.0.0.1", port: first.port, sharing: .exclusive)
        }
        #expect(error?.code == EADDRINUSE)
        #expect(error?.description == "bind 127.0.0.1:\(first.port): Address already in use")
    }

    @Test func hostThatDoesNotResolveIsNamed() throws {
        // A label over 63 bytes: refused by the resolver itself, no name server is asked.
        let host = String(repeating: "x", count: 64)
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket(host: host, port: 1, sharing: .exclusive)
        }
        #expect(error?.description.hasPrefix("resolve \(host):1: ") == true)
    }

    /// Documentation addresses (RFC 5737, RFC 3849) are no machine's.
    @Test func firstAddressThatWorksIsTaken() throws {
        let listening = try ListeningSocket(
            firstOf: ["192.0.2.1", "2001:db8::1", "127.0.0.1"], port: 0, sharing: .first,
            options: AcceptedSocketOptions())
        defer { Socket(descriptor: listening.descriptor).close() }
        #expect(listening.host == "127.0.0.1")
        #expect(listening.port != 0)
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket(
                firstOf: ["192.0.2.1", "2001:db8::1"], port: 0, sharing: .first,
                options: AcceptedSocketOptions())
        }
        #expect(error?.description.hasPrefix("bind 192.0.2.1:0: ") == true, "the first says most")
    }

    /// Whoever asks for a name must not end on another address than the first one that asked.
    @Test func addressInUseIsNotPassedOver() throws {
        let first = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        defer { Socket(descriptor: first.descriptor).close() }
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket(
                firstOf: ["192.0.2.1", "127.0.0.1", "127.0.0.2"], port: first.port, sharing: .exclusive,
                options: AcceptedSocketOptions())
        }
        #expect(error?.code == EADDRINUSE)
    }

    @Test func nameBecomesTheAddressThatIsBound() throws {
        let listening = try ListeningSocket(host: "localhost", port: 0, sharing: .first)
        defer { Socket(descriptor: listening.descriptor).close() }
        #expect(["127.0.0.1", "::1"].contains(listening.host))
        let other = try ListeningSocket(host: listening.host, port: listening.port, sharing: .further)
        Socket(descriptor: other.descriptor).close()
    }

    /// Both families where the kernel has both, IPv4 alone where it has no other.
    @Test func withoutAHostAllAddressesAreListenedOn() throws {
        let listening = try ListeningSocket(host: "", port: 0, sharing: .exclusive)
        defer { Socket(descriptor: listening.descriptor).close() }
        #expect(
            listening.description == "[::]:\(listening.port)"
                || listening.description == "0.0.0.0:\(listening.port)")
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = listening.port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { Socket(descriptor: client).close() }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(result == 0, "IPv4 is served")
    }

    @Test func addressOfAnotherHostIsNamedWithBrackets() throws {
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket(host: "2001:db8::1", port: 1, sharing: .exclusive)
        }
        #expect(error?.description.contains("[2001:db8::1]:1: ") == true)
    }

    // MARK: The share of a turn

    @Test func turnAcceptsItsShareAndNoMore() throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let loop = try EventLoop()
        let limit = Listener.maximumAcceptCount
        let clients = try (0..<2 * limit + 10).map { _ in try connect(to: listening.port) }
        var accepted: [[Socket]] = [[]]
        let listener = Listener(
            listening, on: loop, onError: { Issue.record("\($0)") },
            onAccept: { socket, _ in accepted[accepted.count - 1].append(socket) })
        loop.onTurnEnd = {
            if accepted.reduce(0, { $0 + $1.count }) == clients.count {
                loop.stop()
            } else {
                accepted.append([])
            }
            return false
        }
        loop.run()
        #expect(accepted.map(\.count) == [limit, limit, 10])
        for socket in accepted.flatMap({ $0 }) + clients { socket.close() }
        withExtendedLifetime(listener) {}
    }

    private func name(ofError code: Int32) -> String {
        switch Listener.outcome(ofError: code) {
        case .accepted: "accepted"
        case .nothingQueued: "nothing queued"
        case .lost: "lost"
        case .failed(let error): "\(error)"
        }
    }

    @Test func errorsOfAConnectionAreNoErrorsOfTheListener() {
        for code in [EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH] {
            #expect(name(ofError: code) == "lost")
        }
        for code in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
            #expect(name(ofError: code) == "\(SystemError(code, "accept"))")
        }
        #expect(name(ofError: EAGAIN) == "nothing queued")
    }

    private struct Accepting: Equatable {
        var accepted = 0
        var errors: [Int32] = []
        var hasClosed = false
    }

    /// A listener, connections that wait in its queue, and calls of accept that fail before they reach it.
    private func accepting(
        count: Int, errors: [Int32], isClosing: Bool, patience: Duration = .seconds(240)
    ) throws -> Accepting {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let scenario = try Scenario()
        var accepted: [Socket] = []
        var told: [Int32] = []
        var hasClosed = false
        let clients = try (0..<count).map { _ in try connect(to: listening.port) }
        let listener = Listener(
            listening, on: scenario.loop, onError: { told.append($0.code) },
            onAccept: { socket, _ in accepted.append(socket) })
        var left = errors
        let acceptNext = listener.acceptNext
        listener.acceptNext = {
            left.isEmpty ? acceptNext($0) : Listener.outcome(ofError: left.removeFirst())
        }
        scenario.step(
            "the queue is empty", until: { accepted.count == count && !isClosing || hasClosed }
        ) {
            if isClosing { listener.closeWhenEmpty(patience: patience) { hasClosed = true } }
        }
        try scenario.run()
        for socket in accepted + clients { socket.close() }
        return Accepting(accepted: accepted.count, errors: told, hasClosed: hasClosed)
    }

    @Test(arguments: [true, false]) func acceptingGoesOnOverWhatConcernsOneConnection(isClosing: Bool) throws
    {
        let errors = [EINTR, ECONNABORTED, EINTR, EPROTO]
        let outcome = try accepting(count: 5, errors: errors, isClosing: isClosing)
        #expect(outcome == Accepting(accepted: 5, hasClosed: isClosing))
    }

    /// Those who are queued wait until there are descriptors, also when the listener is about to close.
    @Test(arguments: [true, false]) func acceptingGoesOnWhenThereAreDescriptorsAgain(isClosing: Bool) throws
    {
        let outcome = try accepting(count: 5, errors: [EMFILE, ENFILE], isClosing: isClosing)
        #expect(outcome == Accepting(accepted: 5, errors: [EMFILE, ENFILE], hasClosed: isClosing))
    }

    @Test func closingListenerWaitsForDescriptorsOnlySoLong() throws {
        let outcome = try accepting(
            count: 1, errors: Array(repeating: EMFILE, count: 1_000), isClosing: true,
            patience: .milliseconds(1))
        #expect(outcome.accepted == 0)
        #expect(outcome.hasClosed)
    }

    @Test func whatTheKernelHasQueuedIsAcceptedBeforeTheListenerCloses() throws {
        for count in [0, 5, Listener.maximumAcceptCount, Listener.maximumAcceptCount + 1] {
            let outcome = try accepting(count: count, errors: [], isClosing: true)
            #expect(outcome == Accepting(accepted: count, hasClosed: true))
        }
    }

    @Test func closedListenerTakesNoConnections() throws {
        let listening = try ListeningSocket(host: "127.0.0.1", port: 0, sharing: .exclusive)
        let loop = try EventLoop()
        do {
            let listener = Listener(
                listening, on: loop, onError: { _ in }, onAccept: { socket, _ in socket.close() })
            withExtendedLifetime(listener) {}
        }
        // The port is free again, for a socket that does not share it.
        let again = try ListeningSocket(host: "127.0.0.1", port: listening.port, sharing: .exclusive)
        Socket(descriptor: again.descriptor).close()
    }

    private func option(_ socket: Socket, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(socket.descriptor, level, name, &value, &length)
        return value
    }
}

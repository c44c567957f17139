// The tokens of a process's clients, fetched before they connect. Loop-confined.

import EventLoop

/// Fetches tokens over a few connections, pipelined, or each over its client's own; no faster than the
/// gateways ask for.
final class TokenFetch {
    /// Requests at a time over connections of the clients' own.
    private static let maximumOwnCount = 256
    private static let tick = Duration.milliseconds(20)

    private let clients: [HttpClient]
    private let hasOwnClients: Bool
    private let names: [String]
    private let issueKey: String?
    private let loop: EventLoop
    private var nextIndex = 0
    private var answeredCount = 0
    /// Which may ask for the next token; each asks for one at a time.
    private var idleSlots: [Int]
    private var postponed = Postponed(now: .now)
    private var timer: Timer?
    /// A request that cannot be sent has its answer at once, inside of `advance`.
    private var isAdvancing = false
    /// One for each name; nil where the gateway issued none.
    private(set) var tokens: [String?]
    private(set) var report = TokenReport()
    private let onDone: () -> Void

    /// - Parameters:
    ///   - names: user ids, one or more.
    ///   - issueKey: the key that gateways want before they issue tokens; nil if they want none.
    ///   - clients: a few, or one for each name.
    ///   - hasOwnClients: each name has its own.
    ///   - onDone: called once, when every name has its answer.
    init(
        names: [String], issueKey: String?, clients: [HttpClient], hasOwnClients: Bool, loop: EventLoop,
        onDone: @escaping () -> Void
    ) {
        self.names = names
        self.issueKey = issueKey
        self.clients = clients
        self.hasOwnClients = hasOwnClients
        self.loop = loop
        self.onDone = onDone
        tokens = Array(repeating: nil, count: names.count)
        let pipelinedCount = HttpClient.maximumPipelinedCount * clients.count
        idleSlots = Array(0..<(hasOwnClients ? TokenFetch.maximumOwnCount : pipelinedCount)).reversed()
    }

    func start() {
        timer = Timer(on: loop, repeating: true) { [unowned self] in self.advance() }
        timer?.start(after: TokenFetch.tick)
        advance()
    }

    /// Asks for as many as may be asked for now.
    private func advance() {
        guard !isAdvancing else { return }
        isAdvancing = true
        defer { isAdvancing = false }
        let now = MonotonicInstant.now
        while !postponed.isSilent(at: now), let slot = idleSlots.last, let index = nextName() {
            idleSlots.removeLast()
            fetch(index, slot)
        }
    }

    private func nextName() -> Int? {
        if let index = postponed.next() { return index }
        guard nextIndex < names.count else { return nil }
        nextIndex += 1
        return nextIndex - 1
    }

    private func fetch(_ index: Int, _ slot: Int) {
        let client = clients[(hasOwnClients ? index : slot) % clients.count]
        let target = "/get/token?isLogin=true&userId=\(names[index])"
        client.get(target, bearer: issueKey) { [unowned self] answer in
            self.idleSlots.append(slot)
            self.take(answer, index)
            guard self.answeredCount == self.names.count else { return self.advance() }
            self.timer = nil
            self.onDone()
        }
    }

    private func take(_ answer: HttpAnswer, _ index: Int) {
        if case .answer(_, _, let wait) = answer,
            postponed.add(index, reason: answer.name, wait: wait, at: .now)
        {
            report.postponed = postponed.counts
            return
        }
        answeredCount += 1
        if case .answer(statusCode: 200, let body, _) = answer, let token = TokenFetch.token(in: body) {
            postponed.succeeded(at: .now)
            tokens[index] = token
            report.issuedCount += 1
        } else {
            report.failures[answer.name, default: 0] += 1
        }
    }

    /// The token of `{"data":"<token>"}`: base64url, so nothing in it is escaped.
    static func token(in body: String) -> String? {
        let parts = body.split(separator: "\"", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[1] == "data", !parts[3].isEmpty,
            parts[3].utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return String(parts[3])
    }
}

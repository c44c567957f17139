// The tokens of a process's clients, fetched before they connect. Loop-confined.

import EventLoop
import WebSocket

/// Fetches tokens over a few connections, pipelined.
final class TokenFetch {
    private let clients: [HttpClient]
    private let names: [String]
    private let issueKey: String?
    private var nextIndex = 0
    private var answeredCount = 0
    /// One for each name; nil where none was to be had.
    private(set) var tokens: [String?]
    private(set) var report = TokenReport()
    private let onDone: () -> Void

    /// - Parameters:
    ///   - names: user ids, one or more.
    ///   - issueKey: what the gateways ask of who has tokens issued; nil when nothing.
    ///   - onDone: called once, when every name has its answer.
    init(names: [String], issueKey: String?, clients: [HttpClient], onDone: @escaping () -> Void) {
        self.names = names
        self.issueKey = issueKey
        self.clients = clients
        self.onDone = onDone
        tokens = Array(repeating: nil, count: names.count)
    }

    func start() {
        for _ in 0..<HttpClient.maximumPipelinedCount {
            for client in clients { fetchNext(client) }
        }
    }

    private func fetchNext(_ client: HttpClient) {
        guard nextIndex < names.count else { return }
        let index = nextIndex
        nextIndex += 1
        client.get("/get/token?isLogin=true&userId=\(names[index])", bearer: issueKey) { [unowned self] answer in
            self.take(answer, index)
            if self.answeredCount == self.names.count { self.onDone() } else { self.fetchNext(client) }
        }
    }

    private func take(_ answer: HttpAnswer, _ index: Int) {
        answeredCount += 1
        if case .answer(statusCode: 200, let body) = answer, let token = TokenFetch.token(in: body) {
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

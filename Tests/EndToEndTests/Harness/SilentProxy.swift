// A TCP proxy in front of a server, which can swallow what passes, or answer in place of it
// (Support/proxies.py).

struct SilentProxy: Sendable {
    private let driver: Driver
    private let id: Int
    let port: Int

    init(_ driver: Driver, to port: Int) async throws {
        self.driver = driver
        let reply = try await driver.call("proxy_open", ["target": .number(Double(port))])
        guard let id = reply[0].int, let port = reply[1].int else {
            throw HarnessError("no proxy: \(reply)")
        }
        (self.id, self.port) = (id, port)
    }

    /// From now on nothing passes on connections in whose first bytes `text` stands, and they stay open.
    func swallow(containing text: String = "") async throws {
        try await driver.call("proxy_swallow", ["id": .number(Double(id)), "containing": .string(text)])
    }

    /// From now on requests on new connections get this page, if `text` stands in their head.
    func answer(_ status: Int, _ body: String, containing text: String) async throws {
        let page: [String: JSON] = ["status": .number(Double(status)), "body": .string(body)]
        let place: [String: JSON] = ["id": .number(Double(id)), "containing": .string(text)]
        try await driver.call("proxy_answer", page.merging(place) { own, _ in own })
    }

    /// How many pages were given out.
    func pageCount() async throws -> Int {
        try await driver.call("proxy_page_count", ["id": .number(Double(id))]).int ?? 0
    }

    /// Requests on new connections pass again.
    func stopAnswering() async throws {
        try await driver.call("proxy_stop_answering", ["id": .number(Double(id))])
    }

    /// New connections work again.
    func pass() async throws {
        try await driver.call("proxy_pass", ["id": .number(Double(id))])
    }
}

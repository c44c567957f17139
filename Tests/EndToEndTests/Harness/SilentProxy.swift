// A TCP proxy in front of a server, which can swallow what passes (Support/proxies.py).

struct SilentProxy: Sendable {
    private let driver: Driver
    private let id: Int
    let port: Int

    init(_ driver: Driver, to port: Int) async throws {
        self.driver = driver
        let reply = try await driver.call("proxy_open", ["target": .number(Double(port))])
        guard let id = reply[0].int, let port = reply[1].int else { throw HarnessError("no proxy: \(reply)") }
        (self.id, self.port) = (id, port)
    }

    /// From now on nothing passes on connections in whose first bytes `text` stands, and they stay open.
    func swallow(containing text: String = "") async throws {
        try await driver.call("proxy_swallow", ["id": .number(Double(id)), "containing": .string(text)])
    }

    /// New connections work again.
    func pass() async throws {
        try await driver.call("proxy_pass", ["id": .number(Double(id))])
    }
}

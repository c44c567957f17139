// A real Chromium with pages that run clients/js/roomcast.js, and the static server that the pages come
// from.
import Foundation
import Testing

/// What a client's page needs: nginx in front of a cluster, a Chromium, a server of another origin for the
/// module.
struct ClientEdge: Sendable {
    let cluster: Cluster
    let nginx: NginxServer
    private let browser: JSON
    private let pagePort: Int

    /// Starts all of it for `body`, and stops it.
    ///
    /// - Parameter changes: of nginx.conf, as `NginxServer` takes them.
    static func with(
        options: [String] = [], redisOptions: [String] = [], nginx changes: [(String, String)] = [],
        optionsOfNode: @Sendable (Int) -> [String] = { _ in [] },
        _ body: @Sendable (ClientEdge) async throws -> Void
    ) async throws {
        try await Cluster.with(
            nodes: 2, options: options, redisOptions: redisOptions, optionsOfNode: optionsOfNode
        ) { cluster in
            try await body(try await ClientEdge(cluster, nginx: changes))
        }
    }

    private init(_ cluster: Cluster, nginx changes: [(String, String)]) async throws {
        self.cluster = cluster
        let driver = cluster.driver
        nginx = try await NginxServer(cluster, changes: changes)
        let port = try await driver.freePort()
        pagePort = port
        try await ClientEdge.serve(Installation.root.appending(path: "clients/js").path, at: port, driver)
        browser = try await driver.call(
            "browser_start",
            [
                "executable": .string(try Installation.system("chromium", package: "chromium")),
                "directory": .string(driver.directory.appending(path: "chromium").path),
            ])
    }

    /// Serves the files of a directory until the driver is stopped.
    static func serve(_ directory: String, at port: Int, _ driver: Driver) async throws {
        let command = ["-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", directory]
        try await serve([try Installation.python()] + command, at: port, driver)
    }

    /// Starts a server of pages and waits until it takes connections.
    static func serve(
        _ command: [String], environment: [String: String] = [:], at port: Int, _ driver: Driver
    ) async throws {
        let server = try await Child(driver, name: "pages-\(port)", command, environment: environment)
        try await eventually("the pages are served") {
            if let code = try await server.exitCode(within: .zero) {
                throw Hopeless("ended with \(code): \(server.errorOutput.suffix(2000))")
            }
            return try await driver.run(
                [
                    try Installation.python(), "-c",
                    "import socket; socket.create_connection(('127.0.0.1', \(port)))",
                ]
            ).code == 0
        }
    }

    /// The gateway's address for clients.
    var url: String { "http://127.0.0.1:\(nginx.port)" }

    /// Opens a tab with a page of clients/js, in front of those that are there.
    func page(_ path: String = "/tests/page.html") async throws -> Page {
        try await page(at: "http://127.0.0.1:\(pagePort)\(path)")
    }

    /// Opens a tab with a page of somebody else's.
    func page(at url: String) async throws -> Page {
        let opened = try await cluster.driver.call("page_open", ["browser": browser, "url": .string(url)])
        return Page(driver: cluster.driver, browser: browser, opened: opened)
    }

    /// Opens a tab with a client in it and waits until that is connected.
    func client(_ options: [String: JSON]) async throws -> Page {
        let page = try await page()
        try await connect(page, options)
        return page
    }

    /// Starts a client in a tab and waits until it is connected.
    func connect(_ page: Page, _ options: [String: JSON]) async throws {
        try await page.start(options.merging(["url": .string(url)]) { own, _ in own })
        try await page.expect("open") { $0["status"] == "open" }
    }

    /// The node that holds the connection of a token.
    func holder(of token: String) async throws -> GatewayNode {
        let id = try await cluster.redis.hash("client:\(token)")["node"]
        guard let node = cluster.nodes.first(where: { $0.id == id }) else {
            throw HarnessError("no node \(id ?? "nil") holds the connection")
        }
        return node
    }

    /// The sum of a metric over all nodes.
    func total(_ metric: String) async throws -> Int {
        var sum = 0.0
        for node in cluster.nodes { sum += try await node.metrics()[metric] }
        return Int(sum)
    }
}

/// A tab of the Chromium.
struct Page: Sendable {
    let driver: Driver
    let browser: JSON
    let opened: JSON

    private var place: [String: JSON] { ["browser": browser, "session": opened["session"]] }

    @discardableResult
    func evaluate(_ expression: String) async throws -> JSON {
        try await driver.call(
            "page_evaluate", place.merging(["expression": .string(expression)]) { own, _ in own })
    }

    /// Calls the page's own `start`, which calls `connect`.
    func start(_ options: [String: JSON]) async throws {
        let text = String(decoding: try JSONEncoder().encode(JSON.object(options)), as: UTF8.self)
        try await evaluate("start(\(text)), null")
    }

    /// What the client has said so far: `notices`, `resumes`, `statuses`, `gaps`, `errors`, `beats`, `attempts`,
    /// `asked`, `tokens`, and its `status`, `transport` and `counts`.
    func seen() async throws -> JSON {
        try await evaluate(
            """
            (({ status, transport, counts }) => ({ ...seen, client: null, status, transport, counts }))(seen.client)
            """)
    }

    /// Waits until what the client has said meets `condition`; returns it.
    @discardableResult
    func expect(
        _ what: String, within patience: Duration = .patience,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ condition: (JSON) -> Bool
    ) async throws -> JSON {
        var last = JSON.null
        let isMet = try await eventually(what, within: patience, sourceLocation: sourceLocation) {
            last = try await seen()
            return condition(last)
        }
        if !isMet { Issue.record("what the client said: \(last)", sourceLocation: sourceLocation) }
        return last
    }

    func command(_ method: String, _ parameters: [String: JSON] = [:]) async throws {
        let request: [String: JSON] = ["method": .string(method), "params": .object(parameters)]
        try await driver.call("page_command", place.merging(request) { own, _ in own })
    }

    /// Stops the page's timers and events as the browser does with tabs that were long hidden; or goes on.
    func freeze(_ isFrozen: Bool) async throws {
        try await command("Page.enable")
        try await command("Page.setWebLifecycleState", ["state": .string(isFrozen ? "frozen" : "active")])
    }

    /// Leaves for another page of the same server.
    func leave(for path: String) async throws {
        try await command("Page.enable")
        try await evaluate("location.href = \(path.debugDescription)")
        try await eventually("the other page is there") {
            try await evaluate("document.readyState === 'complete' && location.pathname") == .string(path)
        }
    }

    /// Goes back by one page, as the button does.
    func goBack() async throws {
        let path = try await evaluate("location.pathname")
        try await evaluate("history.back()")
        try await eventually("back") { try await evaluate("location.pathname") != path }
    }

    func setOffline(_ isOffline: Bool) async throws {
        try await command("Network.enable")
        let conditions: [String: JSON] = [
            "offline": .bool(isOffline), "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        ]
        try await command("Network.emulateNetworkConditions", conditions)
    }

    /// Brings the tab to the front, which hides the others.
    func show() async throws {
        try await driver.call("page_show", ["browser": browser, "target": opened["target"]])
    }

    /// Uncaught exceptions, unhandled rejections and console errors so far.
    func complaints() async throws -> [String] {
        (try await driver.call("page_complaints", place).array ?? []).compactMap(\.string)
    }
}

extension JSON {
    /// The numbers `n` of notices in the order of their arrival.
    var noticeNumbers: [Int] { (self["notices"].array ?? []).compactMap { $0["n"].int } }
    var count: Int { array?.count ?? 0 }
}

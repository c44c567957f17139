// The console in a real Chromium: what an operator sees and does.
import Foundation
import Testing

/// A Chromium with the console of a node in it.
struct ConsoleBrowser: Sendable {
    /// With which its nodes are to be started: `GATEWAY_ADMIN_KEY`.
    static let key = "0123456789-abcdef"

    let page: Page

    init(_ node: GatewayNode) async throws {
        let driver = node.driver
        let browser = try await driver.call(
            "browser_start",
            [
                "executable": .string(try Installation.system("chromium", package: "chromium")),
                "directory": .string(driver.directory.appending(path: "chromium").path),
            ])
        let url = "http://127.0.0.1:\(node.adminPort)/console/"
        let opened = try await driver.call("page_open", ["browser": browser, "url": .string(url)])
        page = Page(driver: driver, browser: browser, opened: opened)
    }

    /// Nothing went wrong that nobody saw, and nothing was asked of anybody else.
    func checkManners() async throws {
        #expect(try await page.complaints() == [])
        let foreign = try await page.evaluate(
            "performance.getEntriesByType('resource').map((one) => one.name)"
                + ".filter((name) => new URL(name).host !== location.host)")
        #expect(foreign == [])
    }

    func text(_ selector: String) async throws -> String {
        try await page.evaluate("document.querySelector(\(quoted(selector)))?.textContent ?? ''").string
            ?? ""
    }

    func isShown(_ selector: String) async throws -> Bool {
        try await page.evaluate("document.querySelector(\(quoted(selector))).checkVisibility()") == true
    }

    func expect(_ selector: String, _ what: String, _ condition: @Sendable (String) -> Bool) async throws {
        nonisolated(unsafe) var last = ""
        let isMet = try await eventually("\(selector): \(what)") {
            last = try await text(selector)
            return condition(last)
        }
        if !isMet { Issue.record("\(selector) says: \(last)") }
    }

    /// Types as a person does: over what is there.
    func fill(_ selector: String, _ text: String) async throws {
        try await page.evaluate(
            "document.querySelector(\(quoted(selector))).focus(), document.querySelector(\(quoted(selector))).select()"
        )
        try await page.command("Input.insertText", ["text": .string(text)])
    }

    func click(_ selector: String) async throws {
        try await page.evaluate("document.querySelector(\(quoted(selector))).click()")
    }

    func enter(key: String = key) async throws {
        try await eventually("the key is asked for") { try await isShown("#key-form") }
        try await fill("#key", key)
        try await click("#key-form button")
    }

    private func quoted(_ text: String) -> String { "\"" + text.replacing("\"", with: "\\\"") + "\"" }
}

/// A POST to a node that was started with the console's key.
func post(_ node: GatewayNode, _ path: String, _ body: String) async throws -> Answer {
    let head = requestText(
        path, method: "POST",
        headers: [
            "Content-Type": "application/json", "Content-Length": "\(body.utf8.count)",
            "Authorization": "Bearer \(ConsoleBrowser.key)",
        ])
    return try await node.driver.exchange(node.adminPort, head + body).answers[0]
}

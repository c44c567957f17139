import Foundation
import Testing

@testable import Gateway

/// The README's table of options is written for people; these hold it against the declarations.
@Suite struct ReadmeTests {
    private var root: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }

    private func page(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }

    private func readme() throws -> String { try page("README.md") }

    private func rows() throws -> [String] {
        try readme().split(separator: "\n").map(String.init).filter { $0.hasPrefix("| `") }
    }

    @Test func everyOptionHasARowWithItsDefault() throws {
        let rows = try rows()
        for option in Configuration.options {
            let cell =
                option.isEnvironmentOnly
                ? "| `\(option.variables(prefix: "GATEWAY_")[0])`" : "| `--\(option.name) "
            let row = rows.first { $0.hasPrefix(cell) }
            #expect(row != nil, "no row for --\(option.name)")
            guard let row, case .text(let text) = option.standard else { continue }
            #expect(row.contains(text.isEmpty ? "| empty |" : "| `\(text)` |"), "--\(option.name): \(row)")
        }
    }

    @Test func noRowNamesAnOptionThatDoesNotExist() throws {
        let names = Set(Configuration.options.map(\.name))
        let table = try readme().components(separatedBy: "## Options")[1].components(separatedBy: "`publisher --help`")[0]
        for match in table.matches(of: /\| `--([a-z-]+)/) {
            #expect(names.contains(String(match.output.1)), "--\(match.output.1)")
        }
    }

    @Test func everyMetricThatIsNamedExists() throws {
        let operations = try page("docs/OPERATIONS.md")
        let state = NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        let metrics = PrometheusText(Metrics(workerCount: 1), state: state, nodeID: "n", droppedLogLines: 0).text
        for match in (try readme() + operations).matches(of: /\b(?:roomcast|process)_[a-z_]+/) {
            #expect(metrics.contains("# TYPE \(match.output) "), "\(match.output)")
        }
    }

    // MARK: The other language

    /// The parts of a page that are not prose.
    private struct Skeleton {
        let headings: [Int]
        let codeBlocks: [String]
        /// Of each row of a table: its first cell, if that is code, and every other cell that is nothing but code.
        let rows: [[String]]

        init(_ page: String) {
            let parts = page.components(separatedBy: "```")
            codeBlocks = stride(from: 1, to: parts.count, by: 2).map { parts[$0] }
            let prose = stride(from: 0, to: parts.count, by: 2).map { parts[$0] }.joined()
            let lines = prose.split(separator: "\n")
            headings = lines.filter { $0.hasPrefix("#") }.map { $0.prefix { $0 == "#" }.count }
            rows = lines.filter { $0.hasPrefix("| `") }.map { line in
                line.components(separatedBy: " | ").map { $0.drop { $0 == "|" || $0 == " " } }
                    .filter { $0.wholeMatch(of: /`[^`]+`/) != nil }.map(String.init)
            }
        }
    }

    @Test func chineseReadmeIsInStep() throws {
        let english = Skeleton(try readme())
        let chinese = Skeleton(try page("README.zh-CN.md"))
        #expect(chinese.headings == english.headings)
        #expect(chinese.codeBlocks == english.codeBlocks)
        #expect(chinese.rows == english.rows)
    }

    @Test(arguments: ["README.md", "README.zh-CN.md", "docs/API.md", "examples/README.md"])
    func linksLeadSomewhere(name: String) throws {
        let directory = root.appendingPathComponent(name).deletingLastPathComponent()
        for match in try page(name).matches(of: /\]\(([^)#:]+)(?:#[^)]*)?\)/) {
            let target = directory.appendingPathComponent(String(match.output.1)).standardizedFileURL.path
            #expect(FileManager.default.fileExists(atPath: target), "\(match.output.1)")
        }
    }
}

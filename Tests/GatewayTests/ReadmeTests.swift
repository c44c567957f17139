import Foundation
import Testing

@testable import Gateway

/// The README and the reference are written for people; these hold them against the declarations.
@Suite struct ReadmeTests {
    private var root: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }

    private func page(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }

    /// The chapter about the gateway in the reference: its tables of options.
    private func gatewayChapter() throws -> String {
        let chapters = try page("docs/REFERENCE.md").components(separatedBy: "\n## ")
        return try #require(chapters.first { $0.hasPrefix("`gateway`") })
    }

    private func rows() throws -> [String] {
        try gatewayChapter().split(separator: "\n").map(String.init).filter { $0.hasPrefix("| `") }
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
        // The whole chapter, so that the text of a row names no lost option, either.
        for match in try gatewayChapter().matches(of: /`--([a-z-]+)/) {
            #expect(
                names.contains(String(match.output.1)) || match.output.1 == "help", "--\(match.output.1)")
        }
    }

    @Test func everyMetricThatIsNamedExists() throws {
        let pages = try ["README.md", "docs/OPERATIONS.md", "docs/REFERENCE.md"].map(page).joined()
        // A node on a cluster has all metrics of others, and some of its own.
        let state = NodeState(
            workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1, isCluster: true)
        let metrics = PrometheusText(
            Metrics(workerCount: 1, feedCount: 1), state: state, nodeID: "n", droppedLogLines: 0
        )
        .text
        for match in pages.matches(of: /\b(?:roomcast|process)_[a-z_]+/) {
            #expect(metrics.contains("# TYPE \(match.output) "), "\(match.output)")
        }
    }

    /// One page, so that a stranger reads all of it.
    @Test(arguments: ["README.md", "README.zh-CN.md"])
    func readmeIsOnePage(name: String) throws {
        #expect(try page(name).split(separator: "\n", omittingEmptySubsequences: false).count <= 151)
    }

    // MARK: The other language

    /// The parts of a page that are not prose.
    private struct Skeleton {
        let headings: [Int]
        let codeBlocks: [String]
        /// Of each row of a table: its first cell, if that is code, and every other cell that is nothing but
        /// code.
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
        let english = Skeleton(try page("README.md"))
        let chinese = Skeleton(try page("README.zh-CN.md"))
        #expect(chinese.headings == english.headings)
        #expect(chinese.codeBlocks == english.codeBlocks)
        #expect(chinese.rows == english.rows)
    }

    /// Pages say which test shows what they promise.
    @Test(arguments: ["docs/RELIABILITY.md", "docs/CONFORMANCE.md"])
    func everyTestThatIsNamedExists(name: String) throws {
        let tests = root.appendingPathComponent("Tests")
        let sources = try FileManager.default.subpathsOfDirectory(atPath: tests.path)
            .filter { $0.hasSuffix(".swift") }
            .map { try String(contentsOf: tests.appendingPathComponent($0), encoding: .utf8) }.joined()
        for match in try page(name).matches(of: /`(?:(\w+Tests)(?:\.(\w+))?|\.(\w+))`/) {
            let names = [
                match.output.1.map { "struct \($0)" },
                (match.output.2 ?? match.output.3).map { "func \($0)(" },
            ]
            let missing = names.compactMap { $0 }.filter { !sources.contains($0) }
            #expect(missing == [], "\(match.output.0)")
        }
    }

    // MARK: Links

    /// Every page in Markdown that the repository has: at its root, and in the folders that people read.
    private static var pages: [String] {
        let root = ReadmeTests().root
        let folders = ["docs", "clients/js", "deploy", "examples"].flatMap { folder in
            (FileManager.default.enumerator(atPath: root.appendingPathComponent(folder).path)?.allObjects
                ?? [])
                .compactMap { ($0 as? String).map { "\(folder)/\($0)" } }
        }
        let top = (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? []
        return (top + folders).filter { $0.hasSuffix(".md") && !$0.contains("node_modules") }.sorted()
    }

    /// The name by which GitHub links to a heading.
    private func anchor(_ heading: String) -> String {
        heading.lowercased().filter { $0.isLetter || $0.isNumber || $0 == " " || $0 == "-" || $0 == "_" }
            .replacingOccurrences(of: " ", with: "-")
    }

    @Test(arguments: Self.pages)
    func linksLeadSomewhere(name: String) throws {
        let directory = root.appendingPathComponent(name).deletingLastPathComponent()
        for match in try page(name).matches(of: /\]\(([^)#: ]*)(?:#([^)]*))?\)/) {
            let target =
                match.output.1.isEmpty
                ? root.appendingPathComponent(name)
                : directory.appendingPathComponent(String(match.output.1)).standardizedFileURL
            #expect(FileManager.default.fileExists(atPath: target.path), "\(match.output.0)")
            guard let wanted = match.output.2, target.pathExtension == "md" else { continue }
            let headings = try String(contentsOf: target, encoding: .utf8).split(separator: "\n")
                .filter { $0.hasPrefix("#") }.map { anchor(String($0.drop { $0 == "#" || $0 == " " })) }
            #expect(headings.contains(String(wanted)), "\(match.output.0)")
        }
    }
}

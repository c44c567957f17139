import Foundation
import Options
import Testing

@testable import Gateway

/// The README's table of options is written for people; these hold it against the declarations.
@Suite struct ReadmeTests {
    private func readme() throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    }

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
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appendingPathComponent("docs/OPERATIONS.md"), encoding: .utf8)
        let state = NodeState(workerCount: 1, maximumClientCount: 1, maximumHttpConnectionCount: 1)
        let metrics = PrometheusText(Metrics(workerCount: 1), state: state, nodeID: "n").text
        for match in (try readme() + page).matches(of: /\b(?:roomcast|process)_[a-z_]+/) {
            #expect(metrics.contains("# TYPE \(match.output) "), "\(match.output)")
        }
    }
}

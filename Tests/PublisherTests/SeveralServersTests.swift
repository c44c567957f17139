// One call for installations with a Redis each.
import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct SeveralServersTests {
    private let servers: [RedisServer]

    init() throws { servers = [try RedisServer(), try RedisServer()] }

    private func name(_ index: Int) -> String { "127.0.0.1:\(servers[index].port)" }

    private func start(_ arguments: String...) throws -> Child {
        try Child.publisher(servers.indices.flatMap { ["--redis", "redis://\(name($0))"] } + arguments)
    }

    private func publishedCount(_ index: Int) throws -> Int {
        let text = try servers[index].information("commandstats", "cmdstat_publish") ?? ""
        return text.firstMatch(of: #/calls=(\d+)/#).flatMap { Int($0.1) } ?? 0
    }

    @Test func eachServerTakesEachNoticeAndIsNamed() throws {
        let rooms = try start("--room", "a", "--room", "b", "--data", "1")
        #expect(try rooms.finish() == 0)
        let lines = (0...1).flatMap { index in ["a", "b"].map { "\(name(index)): \($0): 0 nodes\n" } }
        #expect(rooms.outputText == lines.joined() && rooms.errorText == "")
        #expect(try (0...1).map(publishedCount) == [2, 2])

        let json = try start("--room", "a", "--data", "1", "--json")
        #expect(try json.finish() == 0)
        let objects = (0...1).map { "{\"redis\":\"\(name($0))\",\"room\":\"a\",\"nodes\":0}\n" }
        #expect(json.outputText == objects.joined())

        let file = try start("--file", "-")
        try file.write("{\"room\":\"a\",\"data\":1}\n{\"room\":\"b\",\"data\":2}\n")
        #expect(try file.finish() == 0, "\(file.errorText)")
        let summaries = file.outputText.split(separator: "\n")
        #expect(summaries.count == 2)
        for (index, summary) in summaries.enumerated() {
            #expect(summary.hasPrefix("\(name(index)): sent 2, receivers 0, errors 0, "))
        }
        #expect(try (0...1).map(publishedCount) == [5, 5])
    }

    @Test func serverThatIsAwayKeepsNothingFromTheOthers() throws {
        servers[0].stop()
        let rooms = try start("--room", "a", "--data", "1")
        #expect(try rooms.finish() == 1)
        #expect(rooms.outputText == "\(name(1)): a: 0 nodes\n")
        #expect(rooms.errorText.contains("\(name(0)): cannot reach Redis at redis://\(name(0)): "))
        #expect(rooms.errorText.contains("\(name(0)): a: not sent\n"))
        #expect(rooms.errorText.contains("\(name(0)): published to 0 of 1 rooms\n"))
        #expect(try publishedCount(1) == 1)

        servers[1].stop()
        let none = try start("--room", "a", "--data", "1")
        #expect(try none.finish() == 1)
        #expect(none.outputText == "" && none.errorText.split(separator: "\n").count == 2)
    }

    /// It takes connections and does not answer: the others wait for `--timeout`, once.
    @Test func serverThatIsFrozenIsGivenUp() throws {
        let file = try start("--file", "-", "--timeout", "1s")
        let line = "{\"room\":\"a\",\"data\":1}\n"
        try file.write(line)
        try eventually("both have it") { try (0...1).map(publishedCount) == [1, 1] }
        servers[0].freeze()
        defer { servers[0].thaw() }
        try file.write(line)
        try eventually("the other has it") { try publishedCount(1) == 2 }
        try file.write(line + line)
        #expect(try file.finish() == 1)
        #expect(try publishedCount(1) == 4)
        let (output, errors) = (file.outputText, file.errorText)
        #expect(output.contains("\(name(1)): sent 4, receivers 0, errors 0, "), "\(output)")
        #expect(output.contains("\(name(0)): sent 1, receivers 0, errors "), "\(output)")
        #expect(errors.contains("\(name(0)): lost Redis: "), "\(errors)")
        #expect(errors.contains("\(name(0)): no answer for lines 2"), "\(errors)")
        #expect(!errors.contains("\(name(1)): "), "\(errors)")
    }

    @Test func durableNoticesGoToEach() throws {
        let publisher = try start("--durable", "--room", "a", "--data", "1")
        #expect(try publisher.finish() == 0, "\(publisher.errorText)")
        #expect(publisher.outputText.split(separator: "\n").count == 2)
        for server in servers { #expect(try server.command("XLEN", "room:a") == .integer(1)) }
    }

    @Test func wrongUsageIsOneLine() throws {
        let twice = try Child.publisher(
            ["--redis", "redis://a:1", "--redis", "redis://x:secret@a:1", "--room", "a", "--data", "1"])
        #expect(try twice.finish() == 2)
        #expect(twice.errorText == "publisher: --redis: a:1 is given more than once\n")
        // Other commands are about one server.
        let nodes = try Child.publisher(["nodes", "--redis", "redis://a:1", "--redis", "redis://b:1"])
        #expect(try nodes.finish() == 2)
        #expect(nodes.errorText.contains("given more than once"))
    }
}

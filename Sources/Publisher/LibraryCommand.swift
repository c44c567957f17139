// `publisher library`: prints what publishes durable notices within Redis. Main thread.

import Options
import RedisSchema

/// Prints the function library, or the script of the same effect.
enum LibraryCommand {
    static let program = Program(
        name: "publisher library", version: Roomcast.version,
        summary: "prints what publishes durable notices within Redis", usage: ["[--eval]"],
        variablePrefix: "PUBLISHER_",
        options: [
            Option(
                "eval", .flag, section: "Output",
                help: "One script for EVAL instead of the library for FUNCTION LOAD.")
        ],
        notes: [
            "Nodes load the library by themselves. By hand: publisher library | redis-cli -x FUNCTION LOAD REPLACE. "
                + "Keys, arguments and the reply stand in a comment at its beginning.",
            "Exit: 0; 1 the result could not be written; 2 wrong usage.",
        ])

    /// - Returns: the exit code.
    /// - Throws: `UsageError`, before anything is done.
    static func run(_ values: OptionValues) throws(UsageError) -> Int32 {
        let text = try values.flag("eval") ? DurableLibrary.script : DurableLibrary.source
        return StandardStreams.printResult(text, of: "publisher")
    }
}

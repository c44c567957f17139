// What the publisher can be asked to do: to publish, or what the first word of the command line names. Pure.

import Options

/// One of the publisher's commands.
struct Command: Sendable {
    /// The first word of its command line; nil is what is done without such a word.
    let word: String?
    let program: Program
    /// Does it with the given options and returns the exit code.
    let perform: @Sendable (OptionValues) throws(UsageError) -> Int32

    /// Without a word: notices to rooms.
    static let publish = Command(word: nil, program: PublisherOptions.program) {
        values throws(UsageError) in try PublisherProgram.publish(values)
    }

    /// Those that are asked for by a word.
    static let subcommands = [
        Command(word: "revoke", program: RevokeOptions.program) {
            values throws(UsageError) in try RevokeProgram.run(values)
        },
        Command(word: "nodes", program: NodesCommand.program) {
            values throws(UsageError) in try NodesCommand.run(values)
        },
        Command(word: "rooms", program: RoomsCommand.program) {
            values throws(UsageError) in try RoomsCommand.run(values)
        },
        Command(word: "watch", program: WatchCommand.program) {
            values throws(UsageError) in try WatchCommand.run(values)
        },
        Command(word: "top", program: TopCommand.program) {
            values throws(UsageError) in try TopCommand.run(values)
        },
    ]

    /// The command of a command line, and what is left of it for the command's options.
    static func named(in arguments: [String]) -> (command: Command, rest: [String]) {
        guard let word = arguments.first, let command = subcommands.first(where: { $0.word == word }) else {
            return (publish, arguments)
        }
        return (command, Array(arguments.dropFirst()))
    }
}

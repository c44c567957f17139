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
    static let publish = Command(
        word: nil, program: PublisherOptions.program, perform: PublisherProgram.publish)

    /// Those that are asked for by a word.
    static let subcommands = [
        Command(word: "revoke", program: RevokeOptions.program, perform: RevokeProgram.run),
        Command(word: "nodes", program: NodesCommand.program, perform: NodesCommand.run),
        Command(word: "rooms", program: RoomsCommand.program, perform: RoomsCommand.run),
        Command(word: "watch", program: WatchCommand.program, perform: WatchCommand.run),
        Command(word: "top", program: TopCommand.program, perform: TopCommand.run),
        Command(word: "library", program: LibraryCommand.program, perform: LibraryCommand.run),
    ]

    /// The command of a command line, and what is left of it for the command's options.
    static func named(in arguments: [String]) -> (command: Command, rest: [String]) {
        guard let word = arguments.first, let command = subcommands.first(where: { $0.word == word }) else {
            return (publish, arguments)
        }
        return (command, Array(arguments.dropFirst()))
    }
}

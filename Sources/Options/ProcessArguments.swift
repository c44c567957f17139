// The process's command line, and the memory in which `ps` finds it. Used at the start, before any thread.

import Glibc

/// The arguments as `ps` shows them.
package enum ProcessArguments {
    /// The arguments without the program's own name, as given.
    ///
    /// Swift reads them from /proc/self/cmdline, and finds none if /proc is not mounted or if a preloaded
    /// library has moved the environment of a statically linked program (swiftlang/swift#76080). The
    /// program's own name is always there, so an empty list means that the arguments are lost: running
    /// without them would mean running without an issue key.
    ///
    /// - Throws: `UsageError` if the command line is lost, and for an argument that is not UTF-8: repaired,
    ///   it would name another room, file or password.
    package static func read() throws(UsageError) -> [String] {
        try texts(
            (0..<max(0, Int(CommandLine.argc))).map { index in
                guard let text = CommandLine.unsafeArgv[index] else { return [] }
                return UnsafeRawBufferPointer(start: text, count: strlen(text)).map { $0 }
            })
    }

    /// The texts after the first, which is the program's own name.
    static func texts(_ arguments: [[UInt8]]) throws(UsageError) -> [String] {
        guard !arguments.isEmpty else {
            throw UsageError(
                "cannot read the command line, expected a mounted /proc and no preloaded library that changes the "
                    + "environment; nothing was done")
        }
        var texts: [String] = []
        for (index, bytes) in arguments.enumerated().dropFirst() {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw UsageError("\(name(ofArgument: index, in: arguments)) is not UTF-8, expected UTF-8")
            }
            texts.append(text)
        }
        return texts
    }

    /// `argument 2 (--room)`: the option is named by the argument itself, or by the one before.
    private static func name(ofArgument index: Int, in arguments: [[UInt8]]) -> String {
        let own = arguments[index].prefix { $0 != UInt8(ascii: "=") }
        for bytes in [own, arguments[index - 1][...]] where bytes.starts(with: Array("--".utf8)) {
            let isName = bytes.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
            }
            if isName { return "argument \(index) (\(String(decoding: bytes, as: UTF8.self)))" }
        }
        return "argument \(index)"
    }

    /// Overwrites the password of every Redis URL among the arguments, in the process's own memory.
    package static func hidePasswords() {
        for argument in arguments { hidePassword(in: argument) }
    }

    /// Overwrites the value of an option in the process's own memory.
    ///
    /// - Parameter option: its name without dashes.
    package static func hideValue(of option: String) {
        hideValue(of: option, in: arguments)
    }

    private static var arguments: [UnsafeMutableBufferPointer<CChar>] {
        (1..<max(1, Int(CommandLine.argc))).compactMap { index in
            CommandLine.unsafeArgv[index].map { UnsafeMutableBufferPointer(start: $0, count: strlen($0)) }
        }
    }

    /// Replaces the value of an option by stars, in `--option=value` or in the argument after `--option`.
    package static func hideValue(of option: String, in arguments: [UnsafeMutableBufferPointer<CChar>]) {
        let name = Array("--\(option)".utf8)
        var isValue = false
        for argument in arguments {
            let bytes = argument.map { UInt8(bitPattern: $0) }
            let start = isValue ? 0 : name.count + 1
            let isJoined = bytes.starts(with: name + [UInt8(ascii: "=")])
            if isValue || isJoined {
                for index in argument.indices.dropFirst(start) { argument[index] = CChar(UInt8(ascii: "*")) }
            }
            isValue = bytes == name
        }
    }

    /// Replaces the password in a URL's authority by stars, up to the last `@`; and the user, too, if it
    /// stands alone: redis-cli takes it for a password, and people are used to that.
    package static func hidePassword(in text: UnsafeMutableBufferPointer<CChar>) {
        let bytes = text.map { UInt8(bitPattern: $0) }
        guard let scheme = bytes.firstRange(of: "://".utf8), let at = bytes.lastIndex(of: UInt8(ascii: "@")),
            at > scheme.upperBound
        else { return }
        let colon = bytes[scheme.upperBound..<at].firstIndex(of: UInt8(ascii: ":"))
        for index in (colon.map { $0 + 1 } ?? scheme.upperBound)..<at {
            text[index] = CChar(UInt8(ascii: "*"))
        }
    }
}

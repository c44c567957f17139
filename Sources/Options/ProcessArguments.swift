// The process's own memory of its command line. Used at the start, before any thread.

import Glibc

/// The arguments as `ps` shows them.
package enum ProcessArguments {
    /// Overwrites the password of every Redis URL among the arguments, in the process's own memory.
    package static func hidePasswords() {
        for argument in arguments { hidePassword(in: argument) }
    }

    /// Overwrites what was given for an option, in the process's own memory.
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

    /// Stars in place of what stands behind `--option=` or is the argument behind `--option`.
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

    /// Stars in place of what stands between the user and the last `@` of a URL's authority.
    package static func hidePassword(in text: UnsafeMutableBufferPointer<CChar>) {
        let bytes = text.map { UInt8(bitPattern: $0) }
        guard let scheme = bytes.firstRange(of: "://".utf8), let at = bytes.lastIndex(of: UInt8(ascii: "@")),
            at > scheme.upperBound,
            let colon = bytes[scheme.upperBound..<at].firstIndex(of: UInt8(ascii: ":"))
        else { return }
        for index in (colon + 1)..<at { text[index] = CChar(UInt8(ascii: "*")) }
    }
}

// The part of the process's environment that sets options. Used at the start, before any thread.

// `environ` is a variable of C: it is only read here, and nothing in these programs changes it.
@preconcurrency import Glibc

/// The variables of this process.
package enum ProcessEnvironment {
    /// The text of a variable; nil when it is not set.
    ///
    /// - Throws: `UsageError` when it is not UTF-8: repaired, it would name another room, file or password.
    package static func text(of name: String) throws(UsageError) -> String? {
        guard let value = getenv(name) else { return nil }
        guard let text = String(validatingCString: value) else {
            throw UsageError("\(name): is not UTF-8, expected UTF-8")
        }
        return text
    }

    /// All variables whose names begin with a prefix, by name; bytes that are not UTF-8 are repaired.
    package static func all(prefix: String) -> [(name: String, value: String)] {
        var next = environ
        var found: [(name: String, value: String)] = []
        while let entry = next.pointee {
            let parts = String(cString: entry).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, parts[0].hasPrefix(prefix) {
                found.append((String(parts[0]), String(parts[1])))
            }
            next += 1
        }
        return found.sorted { $0.name < $1.name }
    }
}

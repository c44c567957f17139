// A mistake of the user, in one line. The caller writes it to stderr and exits with its status.

import Bytes

/// A wrong option, value, environment variable or argument.
package struct UsageError: Error, Equatable, CustomStringConvertible {
    /// One line without a line feed: what is wrong, where, and the expected form. Never holds a secret.
    package let description: String
    /// 2, but for a file that cannot be used.
    package let exitStatus: Int32

    /// An error with a sentence of its own; control characters are shown escaped, so that it stays one line.
    package init(_ sentence: String, exitStatus: Int32 = 2) {
        self.exitStatus = exitStatus
        description = Self.printable(sentence, maximumCount: 1000)
    }

    /// A value that does not have the expected form.
    ///
    /// - Parameters:
    ///   - origin: the option or the environment variable, such as `--workers` or `GATEWAY_WORKERS`.
    ///   - value: the given text, or nil when it is secret.
    ///   - fault: what is wrong with it, if known.
    package init(origin: String, value: String?, fault: String? = nil, expected: String) {
        let shown = value.map { " \"\(Self.printable($0, maximumCount: 80))\"" } ?? ""
        let reason = fault.map { ": \($0);" } ?? ","
        self.init("\(origin): invalid value\(shown)\(reason) expected \(expected)")
    }

    /// A text with control characters and invisible ones escaped, cut to a length that fits an error line.
    static func printable(_ text: String, maximumCount: Int) -> String {
        var shown = ""
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < maximumCount else { return shown + "…" }
            count += 1
            switch scalar.value {
            case 0x0A: shown += "\\n"
            case _ where scalar.isHarmless: shown.unicodeScalars.append(scalar)
            default: shown += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return shown
    }
}

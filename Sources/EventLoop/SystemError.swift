// A failed system or library call. Any thread.

import Glibc

/// The operating system's error of a failed call.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// `errno` right after the call.
    package let code: Int32
    /// The name of the call, with its argument if that helps the reader: `bind 0.0.0.0:8080`.
    package let call: String

    package init(_ code: Int32, _ call: String) {
        self.code = code
        self.call = call
    }

    package var description: String { "\(call): \(SystemError.message(of: code))" }

    /// The operating system's text for an `errno` value.
    package static func message(of code: Int32) -> String {
        String(cString: strerror(code))
    }
}

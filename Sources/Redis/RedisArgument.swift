// What commands are made of. Pure.

/// One argument of a command, or its name: any bytes.
package typealias RedisArgument = [UInt8]

extension [UInt8] {
    /// The UTF-8 of a text, as an argument.
    package init(_ text: String) {
        self = Array(text.utf8)
    }

    /// A number in decimal, as an argument.
    package init(_ number: Int64) {
        self.init(String(number))
    }
}

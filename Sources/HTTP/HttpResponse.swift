// Writes HTTP/1.1 responses into a reused byte array. Pure, any thread.

import Bytes

/// What a response says about the connection.
package enum HttpConnectionOption: Sendable, Equatable {
    /// Nothing: an HTTP/1.1 connection stays open by default.
    case implied
    /// `keep-alive`, for an HTTP/1.0 client that asked for it.
    case keepAlive
    case close
}

/// One field of a response.
package struct HttpResponseField: Sendable {
    package let name: StaticString
    package let value: String

    package init(_ name: StaticString, _ value: String) {
        self.name = name
        self.value = value
    }

    /// Whether the field is called `name`, in this very case.
    package func isNamed(_ name: StaticString) -> Bool { self.name.rawBytes.equals(name.rawBytes) }
}

/// Response writer; there is nothing to hold, so it is a namespace.
package enum HttpResponse {
    /// Appends a response: status line, `fields`, Content-Length, Connection, and `body`.
    ///
    /// A carriage return, line feed or NUL in a value is written as a space, so that no value can end its
    /// field (RFC 9110 section 5.5).
    /// - Parameters:
    ///   - body: Must be empty for 101 and 204.
    ///   - omitsBody: For HEAD: the length is announced, the bytes are not sent.
    ///   - isEndless: The body ends with the connection: no length is announced.
    ///   - date: The whole line of a Date field, which is the same for a second; none by default.
    /// - Complexity: O(bytes written); allocates only to grow `output`.
    package static func append(
        _ status: HttpStatus, fields: [HttpResponseField] = [], body: UnsafeRawBufferPointer,
        omitsBody: Bool = false, isEndless: Bool = false, connection: HttpConnectionOption,
        date: [UInt8] = [], to output: inout [UInt8]
    ) {
        precondition(status.allowsBody || body.isEmpty, "this status has no body")
        appendStatusLine(status, to: &output)
        output.append(contentsOf: date)
        for field in fields { append(field, to: &output) }
        if status.allowsBody, !isEndless {
            output.append("Content-Length: ")
            output.append(decimal: body.count)
            output.append("\r\n")
        }
        switch connection {
        case .implied: break
        case .keepAlive: output.append("Connection: keep-alive\r\n")
        case .close: output.append("Connection: close\r\n")
        }
        output.append("\r\n")
        if !omitsBody { output.append(contentsOf: body) }
    }

    /// The same with text for a body.
    package static func append(
        _ status: HttpStatus, fields: [HttpResponseField] = [], body: String, omitsBody: Bool = false,
        isEndless: Bool = false, connection: HttpConnectionOption, date: [UInt8] = [],
        to output: inout [UInt8]
    ) {
        var body = body
        body.withUTF8 {
            append(
                status, fields: fields, body: UnsafeRawBufferPointer($0), omitsBody: omitsBody,
                isEndless: isEndless, connection: connection, date: date, to: &output)
        }
    }

    /// Appends the interim answer for which a peer waits before it sends a body (RFC 9110 section 15.2.1).
    package static func appendContinue(to output: inout [UInt8]) {
        output.append("HTTP/1.1 100 Continue\r\n\r\n")
    }

    package static func appendStatusLine(_ status: HttpStatus, to output: inout [UInt8]) {
        output.append("HTTP/1.1 ")
        output.append(decimal: status.rawValue)
        output.append(Ascii.space)
        output.append(status.reasonPhrase)
        output.append("\r\n")
    }

    package static func append(_ field: HttpResponseField, to output: inout [UInt8]) {
        precondition(Ascii.isToken(field.name.rawBytes), "a field name is a token")
        output.append(field.name)
        output.append(": ")
        let start = output.count
        output.append(contentsOf: field.value.utf8)
        for index in start..<output.count where isBreak(output[index]) { output[index] = Ascii.space }
        output.append("\r\n")
    }

    private static func isBreak(_ byte: UInt8) -> Bool {
        byte == Ascii.carriageReturn || byte == Ascii.lineFeed || byte == 0
    }
}

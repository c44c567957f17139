// The header fields of one HTTP head: strict parsing and lookup by name. An immutable value, any thread.

import Bytes

/// Fields in order of arrival, as ranges of one copy of the head: two allocations, and none for a lookup
/// that does not return a String. Cookies are checked but not kept: nothing reads them, and a head may wait
/// for Redis. Public, as only then a lookup is specialized for its result in other modules.
public struct HttpFields: Sendable {
    /// A head with more fields is refused as too large.
    package static let maximumCount = 100

    @usableFromInline internal struct Field: Sendable {
        @usableFromInline let name: Range<Int32>
        @usableFromInline let value: Range<Int32>

        /// The same field in a head that has lost bytes in front of it.
        func moved(by bytes: Int32) -> Field {
            bytes == 0
                ? self
                : Field(
                    name: name.lowerBound - bytes..<name.upperBound - bytes,
                    value: value.lowerBound - bytes..<value.upperBound - bytes)
        }
    }

    @usableFromInline internal let head: [UInt8]
    @usableFromInline internal var fields: [Field] = []

    /// Parses the field lines of a head that ends with an empty line and whose line feeds all follow a
    /// carriage return (`HttpHeadScanner` ensures both).
    /// - Parameter start: Where the first field line begins, relative to `head`.
    /// - Throws: `malformed` for a name that is no token (so a blank in front of the colon and a folded line
    ///   too) and for a control character in a value; `tooLarge` beyond `maximumCount`.
    /// - Complexity: O(bytes).
    init(head: UnsafeRawBufferPointer, from start: Int) throws(HttpHeadError) {
        fields.reserveCapacity(16)
        var cookies: [Range<Int>] = []
        var cookieBytes = 0
        var offset = start
        while let lineFeed = Word.firstOffset(of: Ascii.lineFeed, in: head, from: offset) {
            let line = offset..<lineFeed - 1
            offset = lineFeed + 1
            if line.isEmpty { break }
            let field = try HttpFields.parse(line, in: head)
            if HttpHeadScanner.isCookie(head.part(line)) {
                cookies.append(line.lowerBound..<offset)
                cookieBytes += offset - line.lowerBound
                continue
            }
            guard fields.count < HttpFields.maximumCount else { throw .tooLarge }
            fields.append(field.moved(by: Int32(cookieBytes)))
        }
        self.head = HttpFields.copy(head, without: cookies)
    }

    private static func copy(_ head: UnsafeRawBufferPointer, without left: [Range<Int>]) -> [UInt8] {
        guard !left.isEmpty else { return [UInt8](head) }
        var copy: [UInt8] = []
        var offset = 0
        for range in left {
            copy.append(contentsOf: head.part(offset..<range.lowerBound))
            offset = range.upperBound
        }
        copy.append(contentsOf: head.part(offset..<head.count))
        return copy
    }

    private static func parse(
        _ line: Range<Int>, in head: UnsafeRawBufferPointer
    ) throws(HttpHeadError) -> Field {
        var colon = line.lowerBound
        while colon < line.upperBound, Ascii.isTokenByte(head[colon]) { colon += 1 }
        guard colon > line.lowerBound, colon < line.upperBound, head[colon] == Ascii.colon else {
            throw .malformed
        }
        var start = colon + 1
        var end = line.upperBound
        while start < end, Ascii.isBlank(head[start]) { start += 1 }
        while end > start, Ascii.isBlank(head[end - 1]) { end -= 1 }
        for offset in start..<end where !Ascii.isFieldValueByte(head[offset]) { throw .malformed }
        return Field(name: Int32(line.lowerBound)..<Int32(colon), value: Int32(start)..<Int32(end))
    }

    /// How many fields there are.
    package var count: Int { fields.count }

    /// The first value of `name` (any case), blanks at its ends removed; bytes that are not UTF-8 are
    /// repaired.
    /// - Complexity: O(fields), as all lookups.
    package func value(of name: StaticString) -> String? {
        first(name) { String(decoding: $0, as: UTF8.self) }
    }

    /// All values of `name`, in order.
    package func values(of name: StaticString) -> [String] {
        var values: [String] = []
        forEach(name) { values.append(String(decoding: $0, as: UTF8.self)) }
        return values
    }

    /// How many fields are called `name`.
    package func count(of name: StaticString) -> Int {
        var count = 0
        forEach(name) { _ in count += 1 }
        return count
    }

    /// Whether one of the comma-separated items of all fields called `name` is `token`, in any case.
    package func list(_ name: StaticString, contains token: StaticString) -> Bool {
        var isFound = false
        forEach(name) { value in
            isFound = isFound || HttpFields.list(value, contains: token.rawBytes)
        }
        return isFound
    }

    /// The items of all fields called `name`, split at commas, blanks removed, empty items dropped.
    package func items(of name: StaticString) -> [String] {
        var items: [String] = []
        forEach(name) { value in
            for item in value.split(separator: Ascii.comma) {
                let text = UnsafeRawBufferPointer(rebasing: item).trimmed()
                if !text.isEmpty { items.append(String(decoding: text, as: UTF8.self)) }
            }
        }
        return items
    }

    /// Whether a text can be the name of a field (RFC 9110 section 5.1).
    package static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy(Ascii.isTokenByte)
    }

    /// Runs `body` with the bytes of the first value of `name`; nil if there is none.
    @inlinable
    public func first<Value>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        head.withUnsafeBytes { head in
            for field in fields where HttpFields.isNamed(name, field, in: head) {
                return body(head.part(Int(field.value.lowerBound)..<Int(field.value.upperBound)))
            }
            return nil
        }
    }

    package func forEach(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Void) {
        head.withUnsafeBytes { head in
            for field in fields where HttpFields.isNamed(name, field, in: head) {
                body(head.part(Int(field.value.lowerBound)..<Int(field.value.upperBound)))
            }
        }
    }

    /// Runs `body` with bytes of the head.
    func withBytes<Value>(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        head.withUnsafeBytes { body($0.part(range)) }
    }

    @inlinable
    internal static func isNamed(_ name: StaticString, _ field: Field, in head: UnsafeRawBufferPointer)
        -> Bool
    {
        guard field.name.count == name.utf8CodeUnitCount else { return false }
        return head.part(Int(field.name.lowerBound)..<Int(field.name.upperBound))
            .equalsIgnoringCase(name.rawBytes)
    }

    private static func list(_ value: UnsafeRawBufferPointer, contains token: UnsafeRawBufferPointer) -> Bool
    {
        var start = 0
        while start <= value.count {
            let end = Word.firstOffset(of: Ascii.comma, in: value, from: start) ?? value.count
            if value.part(start..<end).trimmed().equalsIgnoringCase(token) { return true }
            start = end + 1
        }
        return false
    }
}

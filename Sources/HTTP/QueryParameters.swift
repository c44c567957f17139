// The query of a request target, decoded once and looked up by name. An immutable value, any thread.

import Bytes

/// Why a query is refused; the answer is 400.
package enum QueryError: Error, Equatable, Sendable {
    /// A percent sign without two hex digits behind it.
    case malformedEscape
    /// A decoded NUL byte.
    case containsNul
    /// A decoded name or value that is not UTF-8.
    case notUtf8
}

extension QueryError: CustomStringConvertible {
    /// Goes on after the name of a parameter.
    package var description: String {
        switch self {
        case .malformedEscape: "has a % without two hex digits behind it"
        case .containsNul: "holds a NUL"
        case .notUtf8: "is not UTF-8"
        }
    }
}

/// `name=value` pairs separated by `&`, with `%XX` and `+` decoded (the form encoding of URLs).
///
/// A piece without `=` has an empty value, an empty piece is skipped. Two allocations whatever the number of
/// pairs. Public, as only then a lookup is specialized for its result in other modules.
public struct QueryParameters: Sendable {
    @usableFromInline internal struct Pair: Sendable {
        @usableFromInline let name: Range<Int>
        @usableFromInline let value: Range<Int>
    }

    @usableFromInline internal var decoded: [UInt8] = []
    @usableFromInline internal var pairs: [Pair] = []

    /// Decodes a raw query, without its question mark.
    /// - Throws: The first fault in it, even in an unknown parameter.
    /// - Complexity: O(bytes).
    package init(_ query: UnsafeRawBufferPointer) throws(QueryError) {
        guard !query.isEmpty else { return }
        decoded.reserveCapacity(query.count)
        pairs.reserveCapacity(4)
        var start = 0
        while start < query.count {
            let end = Word.firstOffset(of: UInt8(ascii: "&"), in: query, from: start) ?? query.count
            if end > start { try append(query.part(start..<end)) }
            start = end + 1
        }
    }

    /// The first value of `name`, which is compared byte by byte; nil if the query does not have it.
    /// - Complexity: O(pairs).
    package func first(_ name: StaticString) -> String? {
        withFirst(name) { String(decoding: $0, as: UTF8.self) }
    }

    /// Runs `body` with the bytes of the first value of `name`; nil if the query does not have it.
    /// - Complexity: O(pairs).
    @inlinable
    public func withFirst<Value>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        decoded.withUnsafeBytes { decoded in
            for pair in pairs where decoded.part(pair.name).equals(name.rawBytes) {
                return body(decoded.part(pair.value))
            }
            return nil
        }
    }

    /// How many pairs are called `name`.
    /// - Complexity: O(pairs).
    package func count(of name: StaticString) -> Int {
        decoded.withUnsafeBytes { decoded in
            pairs.count { decoded.part($0.name).equals(name.rawBytes) }
        }
    }

    /// Whether `predicate` holds for one of the names.
    /// - Complexity: O(pairs).
    package func hasName(where predicate: (UnsafeRawBufferPointer) -> Bool) -> Bool {
        decoded.withUnsafeBytes { decoded in pairs.contains { predicate(decoded.part($0.name)) } }
    }

    /// What is wrong with a query that `init` refuses, for its sender: the parameter and its fault. Only
    /// names among `known` are shown, as an unknown name may be a secret.
    /// - Complexity: O(bytes).
    package static func fault(in query: UnsafeRawBufferPointer, known: [StaticString]) -> String? {
        var position = 0
        for piece in query.split(separator: UInt8(ascii: "&")) {
            position += 1
            let piece = UnsafeRawBufferPointer(rebasing: piece)
            do throws(QueryError) {
                _ = try QueryParameters(piece)
            } catch {
                let end = Word.firstOffset(of: UInt8(ascii: "="), in: piece, from: 0) ?? 0
                let name = known.first { piece.part(0..<end).equals($0.rawBytes) }
                return "\(name.map { "parameter \($0)" } ?? "query parameter \(position)") \(error)"
            }
        }
        return nil
    }

    private mutating func append(_ piece: UnsafeRawBufferPointer) throws(QueryError) {
        let equals = Word.firstOffset(of: UInt8(ascii: "="), in: piece, from: 0) ?? piece.count
        let name = try decode(piece.part(0..<equals))
        let value = try decode(piece.part(min(equals + 1, piece.count)..<piece.count))
        pairs.append(Pair(name: name, value: value))
    }

    private mutating func decode(_ text: UnsafeRawBufferPointer) throws(QueryError) -> Range<Int> {
        let start = decoded.count
        let hasEscape =
            Word.firstOffset(of: UInt8(ascii: "%"), in: text, from: 0) != nil
            || Word.firstOffset(of: UInt8(ascii: "+"), in: text, from: 0) != nil
            || Word.firstOffset(of: 0, in: text, from: 0) != nil
        if !hasEscape {
            guard Utf8Validator.isValid(text) else { throw .notUtf8 }
            decoded.append(contentsOf: text)
            return start..<decoded.count
        }
        var offset = 0
        while offset < text.count {
            var byte = text[offset]
            offset += 1
            if byte == UInt8(ascii: "+") {
                byte = Ascii.space
            } else if byte == UInt8(ascii: "%") {
                guard text.count - offset >= 2, let high = Ascii.hexValue(text[offset]),
                    let low = Ascii.hexValue(text[offset + 1])
                else { throw .malformedEscape }
                byte = high << 4 | low
                offset += 2
            }
            guard byte != 0 else { throw .containsNul }
            decoded.append(byte)
        }
        let range = start..<decoded.count
        let isText = decoded.withUnsafeBytes { Utf8Validator.isValid($0.part(range)) }
        guard isText else { throw .notUtf8 }
        return range
    }
}

// The first line of a request and the parts of its target (RFC 9112 section 3). Pure, any thread.

import Bytes

/// `method SP target SP HTTP/1.x`, as ranges of the head.
struct RequestLine {
    let method: Range<Int>
    let target: Range<Int>
    /// 0 or 1.
    let versionMinor: Int
    /// The length of the line with its end.
    let endBytes: Int

    /// - Throws: `malformed` unless it is three parts with one space between; `unsupportedVersion` for
    ///   HTTP/0 and HTTP/2 up.
    init(_ head: UnsafeRawBufferPointer) throws(HttpHeadError) {
        guard let lineFeed = Word.firstOffset(of: Ascii.lineFeed, in: head, from: 0), lineFeed > 0,
            let methodEnd = Word.firstOffset(of: Ascii.space, in: head, from: 0), methodEnd < lineFeed,
            let targetEnd = Word.firstOffset(of: Ascii.space, in: head, from: methodEnd + 1),
            targetEnd < lineFeed
        else { throw .malformed }
        method = 0..<methodEnd
        target = methodEnd + 1..<targetEnd
        endBytes = lineFeed + 1
        guard Ascii.isToken(head.part(method)), !target.isEmpty else { throw .malformed }
        versionMinor = try RequestLine.minorVersion(head.part(targetEnd + 1..<lineFeed - 1))
    }

    /// Reads `HTTP/` digit `.` digit.
    static func minorVersion(_ version: UnsafeRawBufferPointer) throws(HttpHeadError) -> Int {
        let name = ("HTTP/" as StaticString).rawBytes
        guard version.count == name.count + 3, version.part(0..<name.count).equals(name),
            Ascii.isDigit(version[name.count]), version[name.count + 1] == UInt8(ascii: "."),
            Ascii.isDigit(version[name.count + 2])
        else { throw .malformed }
        guard version[name.count] == UInt8(ascii: "1") else { throw .unsupportedVersion }
        return version[name.count + 2] == UInt8(ascii: "0") ? 0 : 1
    }
}

/// The parts of a request target, as ranges of the head. Origin form, absolute form and the asterisk are
/// known; the authority form belongs to CONNECT, which no endpoint answers.
struct RequestTarget: Sendable {
    /// Nil for an absolute target without a path, which means `/`.
    let path: Range<Int>?
    /// Empty without a query.
    let query: Range<Int>

    init(_ target: Range<Int>, in head: UnsafeRawBufferPointer) throws(HttpHeadError) {
        // The grammar knows no fragment here, and a proxy in front may cut at it.
        for offset in target where !Ascii.isVisible(head[offset]) || head[offset] == UInt8(ascii: "#") {
            throw .malformed
        }
        let mark = target.first { head[$0] == UInt8(ascii: "?") } ?? target.upperBound
        query = min(mark + 1, target.upperBound)..<target.upperBound
        if head[target.lowerBound] == UInt8(ascii: "/") {
            path = target.lowerBound..<mark
        } else if target.count == 1, head[target.lowerBound] == UInt8(ascii: "*") {
            path = target
        } else {
            let authority = try RequestTarget.authorityStart(target.lowerBound..<mark, in: head)
            guard authority < mark, head[authority] != UInt8(ascii: "/") else { throw .malformed }
            let slash = (authority..<mark).first { head[$0] == UInt8(ascii: "/") }
            path = slash.map { $0..<mark }
        }
    }

    /// Where the authority begins: behind `scheme://`, for the schemes that end up here through a proxy.
    private static func authorityStart(
        _ target: Range<Int>, in head: UnsafeRawBufferPointer
    ) throws(HttpHeadError) -> Int {
        let schemes: [StaticString] = ["http://", "https://", "ws://", "wss://"]
        for scheme in schemes {
            let end = target.lowerBound + scheme.utf8CodeUnitCount
            if end <= target.upperBound,
                head.part(target.lowerBound..<end).equalsIgnoringCase(scheme.rawBytes)
            {
                return end
            }
        }
        throw .malformed
    }
}

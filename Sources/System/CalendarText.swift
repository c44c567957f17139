// Unix times as text, by strftime(3). No program calls setlocale(3), so names are English. Pure, but for the
// time zone.

import Glibc

/// Points in time for people and protocols.
package enum CalendarText {
    /// A time in UTC; the first second of 1970 for one that no calendar has.
    ///
    /// - Parameter format: of strftime(3); the result has at most 63 bytes.
    package static func utc(_ unixSeconds: Int64, _ format: String) -> String {
        var time = time_t(unixSeconds)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return utc(0, format) }
        return text(&parts, format)
    }

    /// A time in the time zone of the user; otherwise as `utc`.
    package static func local(_ unixSeconds: Int64, _ format: String) -> String {
        var time = time_t(unixSeconds)
        var parts = tm()
        guard localtime_r(&time, &parts) != nil else { return local(0, format) }
        return text(&parts, format)
    }

    /// `.042`: the milliseconds of a second.
    package static func fraction(ofUnixMilliseconds milliseconds: Int64) -> String {
        ".\(1_000 + milliseconds % 1_000)".replacing(".1", with: ".", maxReplacements: 1)
    }

    private static func text(_ parts: inout tm, _ format: String) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            let length = strftime(text.baseAddress!, text.count, format, &parts)
            return String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

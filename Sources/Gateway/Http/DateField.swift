// The Date field of answers (RFC 9110 6.6.1), made once a second. A value of one loop; the clock is given.

import System

/// Keeps the field's line until the second is over.
struct DateField {
    private var second = Int64.min
    private var line: [UInt8] = []

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` and the line's end.
    ///
    /// - Parameter unixMilliseconds: the wall clock's reading.
    mutating func line(at unixMilliseconds: Int64) -> [UInt8] {
        let now = unixMilliseconds / 1_000
        if now != second {
            second = now
            line = Array("Date: \(DateField.text(of: now))\r\n".utf8)
        }
        return line
    }

    /// The form of RFC 9110 5.6.7, in which names are English whatever the locale.
    static func text(of unixSeconds: Int64) -> String {
        CalendarText.utc(unixSeconds, "%a, %d %b %Y %H:%M:%S GMT")
    }
}

// The Date field of answers (RFC 9110 6.6.1), made once a second. A value of one loop; the clock is given.

import Glibc

/// Keeps the field's line until the second is over.
struct DateField {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

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
        var time = time_t(unixSeconds)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return text(of: 0) }
        let date = "\(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(1900 + Int(parts.tm_year))"
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(days[Int(parts.tm_wday)]), \(date) \(clock) GMT"
    }

    private static func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

// The picture of `publisher top`: from what is known to lines that fit. Pure.

import RedisSchema
import Options

/// What is known of the cluster, laid out for a screen of any size.
struct Dashboard {
    /// A line of the picture.
    struct Line: Equatable {
        /// The look of a whole line, as terminals call it (ECMA-48 SGR).
        enum Style: String {
            case plain = ""
            case bold = "1"
            case faint = "2"
            case good = "32"
            case warning = "33"
            case bad = "31"
        }

        let text: String
        let style: Style

        init(_ text: String, _ style: Style = .plain) {
            self.text = text
            self.style = style
        }

        /// The text as it is written to a terminal.
        func rendered(hasColors: Bool) -> String {
            hasColors && style != .plain ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[m" : text
        }
    }

    /// Blank lines between the parts from this height on.
    private static let roomyRowCount = 20

    var listing = NodeListing(reports: [], rates: NodeRates())
    var connections = Sparkline()
    var deliveries = Sparkline()
    /// Why there is no news at present.
    var trouble: String?
    /// By this machine's clock, as text.
    var clock = ""
    /// By the clock of the sparklines.
    var now = Duration.zero
    var isAscii = false

    /// Takes new reports.
    mutating func take(_ listing: NodeListing, at time: Duration) {
        self.listing = listing
        trouble = nil
        connections.add(Double(listing.connections), at: time)
        // A sum without the rate of a node that has just been seen would look like a slump.
        if listing.rates.isComplete { deliveries.add(listing.rates.totalPerSecond, at: time) }
    }

    /// The whole in one line, where there is no screen.
    var plainLine: String {
        let news = listing.reports.isEmpty ? NodeListing.none : listing.totals.joined(separator: ", ")
        return "\(clock)  " + (trouble.map { DisplayText.text($0) } ?? news)
    }

    /// The picture: at most as many lines as there are rows, none wider than the screen.
    func lines(_ size: TerminalScreen.Size) -> [Line] {
        let isRoomy = size.rows >= Self.roomyRowCount
        var head = [title(size)] + totals(size)
        if isRoomy { head.append(Line("")) }
        head += sparklines(size)
        if isRoomy { head.append(Line("")) }
        let foot = footer
        var lines = head + tables(rowCount: size.rows - head.count - 1, size, isRoomy: isRoomy)
        lines = Array(lines.prefix(max(0, size.rows - 1)))
        while lines.count < size.rows - 1 { lines.append(Line("")) }
        return (lines + [foot]).map { Line(DisplayText.text($0.text, columnCount: size.columns), $0.style) }
    }

    private func title(_ size: TerminalScreen.Size) -> Line {
        let name = "roomcast"
        let blanks = String(repeating: " ", count: max(1, size.columns - name.count - clock.count))
        return Line(name + blanks + clock, .bold)
    }

    /// What has no room in one line stands in the next; not on a low screen, where nodes need the rows.
    private func totals(_ size: TerminalScreen.Size) -> [Line] {
        var lines: [String] = []
        for part in listing.totals {
            if let last = lines.last, last.count + 3 + part.count <= size.columns {
                lines[lines.count - 1] = last + "   " + part
            } else {
                lines.append(part)
            }
        }
        return lines.prefix(size.rows >= Self.roomyRowCount ? 3 : 1).map { Line($0) }
    }

    private func sparklines(_ size: TerminalScreen.Size) -> [Line] {
        let rows = [
            ("connections ", connections, Quantity.rate(connections.last)),
            ("deliveries/s", deliveries, Quantity.rate(deliveries.last)),
        ]
        let widest = rows.map(\.2.count).max() ?? 0
        return rows.map { title, series, value in
            let columnCount = size.columns - title.count - widest - 2
            let bars = series.text(columnCount: columnCount, now: now, isAscii: isAscii)
            return Line("\(title) \(bars) \(value)")
        }
    }

    /// Nodes first, each table cut where there is no room for both.
    private func tables(rowCount: Int, _ size: TerminalScreen.Size, isRoomy: Bool) -> [Line] {
        let nodes = nodeLines(size)
        let rooms = roomLines(size)
        let gap = isRoomy ? 1 : 0
        let available = max(0, rowCount - gap)
        let nodeCount = min(nodes.count, max(available - rooms.count, (available + 1) / 2))
        let roomCount = min(rooms.count, available - nodeCount)
        // A head and the number of those left out tell nothing.
        let shownRooms = roomCount < min(3, rooms.count) ? [] : Self.cut(rooms, to: roomCount)
        let shownNodes = Self.cut(nodes, to: shownRooms.isEmpty ? min(nodes.count, rowCount) : nodeCount)
        let between = gap > 0 && !shownRooms.isEmpty ? [Line("")] : []
        return shownNodes + between + shownRooms
    }

    private func nodeLines(_ size: TerminalScreen.Size) -> [Line] {
        guard !listing.reports.isEmpty else { return [Line(NodeListing.none)] }
        let lines = listing.table.lines(columnCount: size.columns)
        let styles: [Line.Style] =
            [.bold]
            + listing.reports.map { report in
                trouble != nil ? .faint : report.isDraining ? .warning : report.isReady ? .good : .bad
            }
        return zip(lines, styles).map { Line($0, $1) }
    }

    /// The largest among those that nodes report by themselves.
    private func roomLines(_ size: TerminalScreen.Size) -> [Line] {
        let rooms = RoomMembers.merged(listing.reports.flatMap(\.topRooms))
        guard !rooms.isEmpty else { return [] }
        var table = TextTable(columns: [.init("MEMBERS", isRight: true), .init("TOP ROOMS")])
        table.rows = rooms.prefix(size.rows).map { ["\($0.count)", DisplayText.text($0.room.bytes)] }
        let lines = table.lines(columnCount: size.columns)
        return lines.enumerated().map { Line($1, $0 == 0 ? .bold : .plain) }
    }

    /// The first lines; the last of them tells of those that are left out.
    private static func cut(_ lines: [Line], to count: Int) -> [Line] {
        guard lines.count > count else { return lines }
        guard count > 0 else { return [] }
        return lines.prefix(count - 1) + [
            Line("\(DisplayText.ellipsis) \(lines.count - count + 1) more", .faint)
        ]
    }

    private var footer: Line {
        if let trouble { return Line(DisplayText.text(trouble), .bad) }
        return Line("q quits", .faint)
    }
}

// Rows under a head, aligned. Pure.

import Options

/// A table for a terminal or a log.
struct TextTable {
    /// One column.
    struct Column {
        let title: String
        /// Numbers are easier to compare when their last digits stand below each other.
        let isRight: Bool
        /// Columns of high rank are left out first where there is no room; 0 is never left out.
        let rank: Int

        init(_ title: String, isRight: Bool = false, rank: Int = 0) {
            self.title = title
            self.isRight = isRight
            self.rank = rank
        }
    }

    /// Between two columns.
    private static let gap = "  "

    let columns: [Column]
    /// Each as many cells as there are columns, made of `DisplayText`.
    var rows: [[String]] = []

    /// The head and the rows as lines without blanks at their ends.
    ///
    /// - Parameter columnCount: the width to fit in: columns by rank are left out, then lines are cut.
    func lines(columnCount: Int = .max) -> [String] {
        let widths = columns.indices.map { index in
            rows.reduce(DisplayText.width(of: columns[index].title)) {
                max($0, DisplayText.width(of: $1[index]))
            }
        }
        let kept = kept(widths, columnCount)
        return ([columns.map(\.title)] + rows).map { cells in
            var line = ""
            for index in kept {
                let blanks = String(
                    repeating: " ", count: widths[index] - DisplayText.width(of: cells[index]))
                if index != kept.first { line += Self.gap }
                line += columns[index].isRight ? blanks + cells[index] : cells[index] + blanks
            }
            while line.last == " " { line.removeLast() }
            return DisplayText.text(line, columnCount: columnCount)
        }
    }

    private func kept(_ widths: [Int], _ columnCount: Int) -> [Int] {
        var kept = Array(columns.indices)
        func isTooWide() -> Bool {
            kept.reduce(0) { $0 + widths[$1] } + (kept.count - 1) * Self.gap.count > columnCount
        }
        while isTooWide(), let highest = kept.map({ columns[$0].rank }).max(), highest > 0 {
            kept.removeAll { columns[$0].rank == highest }
        }
        return kept
    }
}

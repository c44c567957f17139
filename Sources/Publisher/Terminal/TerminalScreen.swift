// The terminal as a screen that is drawn over and over, and given back as it was. Main thread, and signal
// handlers.

import Glibc
import Options
import Synchronization

/// The alternate screen of the terminal on stdout, without a cursor, and stdin without echo and lines.
struct TerminalScreen {
    /// What a terminal has room for.
    struct Size: Equatable {
        let columns: Int
        let rows: Int
    }

    /// What is written before the first picture: the alternate screen, no cursor, no wrapping of lines that
    /// a terminal takes for longer than we do (xterm's DECSET 1049, 25; DECAWM 7).
    private static let take: StaticString = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[2J"
    private static let giveUp: StaticString = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"

    /// Where the settings of stdin are kept as they were: the address of a `termios` that is never freed,
    /// since a signal handler may use it at any time; 0 if stdin is not a terminal of ours.
    private static let savedSettings = Atomic<UInt>(0)
    private static let isTaken = Atomic<Bool>(false)

    /// The size of the terminal on stdout; nil if stdout is not a terminal, or one that cannot be drawn on
    /// (TERM=dumb).
    static var sizeForPictures: Size? {
        guard isatty(STDOUT_FILENO) == 1, let kind = variable("TERM"), kind != "dumb" else { return nil }
        return size ?? Size(columns: 80, rows: 24)
    }

    /// The size of the terminal on stdout, whatever it can do; nil if stdout is not a terminal.
    static var size: Size? {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return nil
        }
        return Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }

    /// Whether the user wants colours and bold letters (no-color.org).
    static var hasColors: Bool { variable("NO_COLOR") == nil }

    /// Whether the locale's characters are those of Unicode.
    static var isUnicode: Bool {
        let locale = variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? ""
        let name = locale.uppercased()
        return name.contains("UTF-8") || name.contains("UTF8")
    }

    /// Takes the terminal; `giveBack` undoes it.
    static func takeOver() {
        // First, so that a signal from here on finds what to undo.
        isTaken.store(true, ordering: .relaxed)
        if isatty(STDIN_FILENO) == 1 { silenceInput() }
        write(take)
    }

    /// Makes everything as it was. To be called any number of times, also from a signal handler.
    static func giveBack() {
        guard isTaken.exchange(false, ordering: .relaxed) else { return }
        write(giveUp)
        guard let saved = UnsafePointer<termios>(bitPattern: savedSettings.load(ordering: .relaxed)) else {
            return
        }
        tcsetattr(STDIN_FILENO, TCSANOW, saved)
    }

    /// Draws lines from the top; nothing of the last picture is left.
    ///
    /// - Parameter lines: at most as many as there are rows, each at most as wide as the screen.
    /// - Returns: 0, or the `errno` of writing when the terminal has gone.
    static func draw(_ lines: [String]) -> Int32 {
        // Home; each line's rest erased; what is below erased (ECMA-48 CUP, EL, ED).
        let picture = lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n")
        return StandardStreams.write("\u{1B}[H\(picture)\u{1B}[J", to: STDOUT_FILENO)
    }

    /// Keys come one by one and are not shown. Ctrl-C stays a signal; Ctrl-\ and Ctrl-Z, which would leave
    /// the screen as it is, do nothing.
    private static func silenceInput() {
        let saved = UnsafeMutablePointer<termios>.allocate(capacity: 1)
        guard tcgetattr(STDIN_FILENO, saved) == 0 else { return saved.deallocate() }
        var settings = saved.pointee
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
        withUnsafeMutableBytes(of: &settings.c_cc) { keys in
            keys[Int(VMIN)] = 1
            keys[Int(VTIME)] = 0
            // _POSIX_VDISABLE is 0 on Linux.
            keys[Int(VQUIT)] = 0
            keys[Int(VSUSP)] = 0
        }
        savedSettings.store(UInt(bitPattern: saved), ordering: .relaxed)
        tcsetattr(STDIN_FILENO, TCSANOW, &settings)
    }

    /// Without memory of its own, for signal handlers.
    private static func write(_ text: StaticString) {
        _ = Glibc.write(STDOUT_FILENO, text.utf8Start, text.utf8CodeUnitCount)
    }

    private static func variable(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }
}

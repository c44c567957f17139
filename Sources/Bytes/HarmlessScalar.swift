// Which characters are safe to show. Pure.

extension Unicode.Scalar {
    /// Whether a terminal only shows the character, or joins it to the one before: false for control
    /// characters, for those that turn the direction of writing or break a line, and for invisible ones.
    package var isHarmless: Bool {
        if (0x20..<0x7F).contains(value) { return true }
        return switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: false
        default: true
        }
    }
}

// What nodes tell each other, on the channel that each of them always subscribes. Pure.

import Notices

/// A message on a node's control channel: words separated by spaces.
///
///     replaced <token> <connection>      a newer connection has taken the token over
enum ControlMessage: Equatable {
    case replaced(Token, connection: UInt64)

    /// nil for anything that is no control message.
    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "replaced", let token = Token(String(words[1])),
            let connection = UInt64(words[2])
        else { return nil }
        self = .replaced(token, connection: connection)
    }
}

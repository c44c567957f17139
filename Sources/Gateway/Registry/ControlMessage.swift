// What nodes and tools say to a node, on the channel that each of them always subscribes. Pure.

import RedisSchema
import Options

/// A message on a node's control channel: words separated by spaces.
///
///     replaced <token> <connection>      a newer connection has taken the token over
///     revoked <token>                    the token's record was deleted: no connection may use it any more
///     echo <run> <number>                from this start of the node itself (see `ServerAgreement`)
///     slot-echo <run> <number>           the same in a cluster, through the master of a slot (see `SlotEchoes`)
///     rooms <reply>                      publish all rooms to `gateway:reply:<reply>` (see `RoomListMessage`)
enum ControlMessage: Equatable {
    case replaced(Token, connection: UInt64)
    case revoked(Token)
    case rooms(reply: ReplyId)
    case echo(run: [UInt8], number: UInt64)
    case slotEcho(run: [UInt8], number: UInt64)

    /// The first word of an unknown message, for the log: it may be one of a later version. What stands
    /// behind it may be a token.
    static func shownKind(of text: String) -> String {
        DisplayText.text(String(text.prefix { $0 != " " }), columnCount: 20)
    }

    /// nil for anything that is no control message.
    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count >= 2 else { return nil }
        switch (words[0], words.count) {
        case ("replaced", 3):
            guard let token = Token(String(words[1])), let connection = UInt64(words[2]) else { return nil }
            self = .replaced(token, connection: connection)
        case (RevocationMessage.word, 2):
            guard let token = Token(String(words[1])) else { return nil }
            self = .revoked(token)
        case (RoomListMessage.requestWord, 2):
            guard let reply = ReplyId(words[1]) else { return nil }
            self = .rooms(reply: reply)
        case (ControlMessage.echoWord, 3):
            guard let number = UInt64(words[2]) else { return nil }
            self = .echo(run: Array(words[1].utf8), number: number)
        case (ControlMessage.slotEchoWord, 3):
            guard let number = UInt64(words[2]) else { return nil }
            self = .slotEcho(run: Array(words[1].utf8), number: number)
        default: return nil
        }
    }

    private static let slotEchoWord: Substring = "slot-echo"
    private static let echoWord: Substring = "echo"

    /// The bytes of an echo.
    static func echoBytes(run: [UInt8], number: UInt64) -> [UInt8] {
        Array(echoWord.utf8) + [UInt8(ascii: " ")] + run + [UInt8](" \(number)")
    }

    /// The bytes of an echo through the master of a slot.
    static func slotEchoBytes(run: [UInt8], number: UInt64) -> [UInt8] {
        Array(slotEchoWord.utf8) + [UInt8(ascii: " ")] + run + [UInt8](" \(number)")
    }
}

// The bodies of the requests of the console's page. Pure.

import JSON
import RedisSchema

/// A body: a JSON object. Unknown members are ignored.
struct ConsoleRequest {
    private let json: [UInt8]
    private let object: JsonObject

    /// - Returns: nil if the bytes are not a JSON object.
    init?(_ body: [UInt8]) {
        guard body.withUnsafeBytes({ PayloadCheck($0) }) == .valid, let object = JsonObject(validJson: body)
        else {
            return nil
        }
        json = body
        self.object = object
    }

    var token: Token? { text("token").flatMap { Token($0) } }

    /// The last member of a name counts, as in a browser.
    private func value(_ name: String) -> ArraySlice<UInt8>? {
        object.members.last { $0.name.elementsEqual(name.utf8) }.map { json[$0.value] }
    }

    private func text(_ name: String) -> [UInt8]? { value(name).flatMap { JsonObject.text(ofString: $0) } }
}

// The token of a heartbeat. Pure.

import HTTP

/// Reads `token`, or `Authorization: Bearer <token>` for those who keep tokens out of URLs.
enum HeartbeatRequest {
    /// The text of the token; empty without one.
    ///
    /// - Throws: when the query is malformed, or when two places name different tokens.
    static func token(of request: HttpRequestHead) throws(ParameterFault) -> String {
        let query = try RequestQuery.parameters(of: request, reading: ["token"])
        let named = query.first("token") ?? ""
        guard request.fields.count(of: "Authorization") <= 1 else {
            throw ParameterFault("Authorization is given more than once")
        }
        let shown = BearerKey.shown(by: request).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard !named.isEmpty else { return shown }
        guard shown.isEmpty || shown == named else {
            throw ParameterFault("parameter token and Authorization name different tokens")
        }
        return named
    }
}

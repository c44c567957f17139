// What browsers are told about pages of other origins (Fetch standard, CORS). Pure.

import WebSocket

/// The fields that let a page read an answer.
struct CrossOrigin {
    let allowed: AllowedOrigins

    /// For an answer to `request`: none if its origin may not read it.
    func fields(for request: HttpRequestHead) -> [HttpResponseField] {
        guard case .list = allowed else {
            return request.fields.count(of: "Origin") == 0 ? [] : [HttpResponseField("Access-Control-Allow-Origin", "*")]
        }
        // Whatever the answer, caches must know that it depends on the origin.
        var fields = [HttpResponseField("Vary", "Origin")]
        if let origin = request.fields.value(of: "Origin"), allowed.allows(origin) {
            fields.append(HttpResponseField("Access-Control-Allow-Origin", origin))
        }
        return fields
    }

    /// Whether a page of the request's origin may open a WebSocket; who sends no origin is no browser.
    func mayConnect(_ request: HttpRequestHead) -> Bool {
        guard let origin = request.fields.value(of: "Origin") else { return true }
        return allowed.allows(origin)
    }

    /// Whether `request` is a browser's question ahead of a request with fields of its own.
    static func isPreflight(_ request: HttpRequestHead) -> Bool {
        request.methodName == "OPTIONS" && request.fields.count(of: "Origin") > 0
            && request.fields.count(of: "Access-Control-Request-Method") > 0
    }

    /// The answer to a preflight request.
    func preflightFields(for request: HttpRequestHead) -> [HttpResponseField] {
        fields(for: request) + [
            HttpResponseField("Access-Control-Allow-Methods", "GET"),
            HttpResponseField("Access-Control-Allow-Headers", "Authorization, Content-Type"),
            HttpResponseField("Access-Control-Max-Age", "86400"),
        ]
    }
}

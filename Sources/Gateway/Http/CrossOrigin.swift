// What browsers learn about pages of other origins (Fetch standard, CORS). Pure.

import HTTP

/// The fields that let a page read an answer.
struct CrossOrigin {
    /// What is allowed whether it is asked for or not.
    private static let usualHeaders = ["Authorization", "Content-Type"]
    /// A page sees these fields beside those that every page sees.
    private static let exposed = HttpResponseField(
        "Access-Control-Expose-Headers", "\(Answer.detailName), \(Answer.heartbeatName), Retry-After")

    let allowed: AllowedOrigins

    /// For an answer to `request`: none that lets its origin read it if it may not.
    ///
    /// - Parameter request: nil when no head could be read, and so no origin either.
    func fields(for request: HttpRequestHead?) -> [HttpResponseField] {
        guard case .list = allowed else {
            // A head that could not be read does not show whether a page has sent it.
            if let request, request.fields.count(of: "Origin") == 0 { return [] }
            return [HttpResponseField("Access-Control-Allow-Origin", "*"), CrossOrigin.exposed]
        }
        // Whatever the answer, caches must know that it depends on the origin.
        var fields = [HttpResponseField("Vary", "Origin")]
        if let request, request.fields.count(of: "Origin") == 1,
            let origin = request.fields.value(of: "Origin"),
            allowed.allows(origin)
        {
            fields += [HttpResponseField("Access-Control-Allow-Origin", origin), CrossOrigin.exposed]
        }
        return fields
    }

    /// Whether `request` names no more origins than one: with two it is unknown which one the browser has
    /// written.
    func isUnambiguous(_ request: HttpRequestHead) -> Bool { request.fields.count(of: "Origin") <= 1 }

    /// Whether a page of the request's origin may open a WebSocket; who sends no origin is no browser.
    func mayConnect(_ request: HttpRequestHead) -> Bool {
        guard isUnambiguous(request) else { return false }
        guard let origin = request.fields.value(of: "Origin") else { return true }
        return allowed.allows(origin)
    }

    /// Whether `request` is a browser's question ahead of a request with fields of its own.
    static func isPreflight(_ request: HttpRequestHead) -> Bool {
        request.methodName == "OPTIONS" && request.fields.count(of: "Origin") > 0
            && request.fields.count(of: "Access-Control-Request-Method") > 0
    }

    /// What the answer to a preflight request carries beside `fields(for:)`.
    ///
    /// Every header that is asked for is allowed: nothing here acts on one that it does not know, and pages
    /// that are traced send some (`sentry-trace`, `baggage`, `traceparent`) with each request.
    func preflightFields(for request: HttpRequestHead) -> [HttpResponseField] {
        [
            HttpResponseField("Vary", "Access-Control-Request-Headers"),
            HttpResponseField("Access-Control-Allow-Methods", "GET"),
            HttpResponseField(
                "Access-Control-Allow-Headers",
                (CrossOrigin.usualHeaders + CrossOrigin.askedHeaders(of: request)).joined(separator: ", ")),
            HttpResponseField("Access-Control-Max-Age", "86400"),
        ]
    }

    /// The field names that a preflight asks for beside the usual ones; none when one of them is no name, or
    /// they are too long together.
    private static func askedHeaders(of request: HttpRequestHead) -> [String] {
        let names = request.fields.items(of: "Access-Control-Request-Headers")
        let lengthBytes = names.reduce(0) { $0 + $1.utf8.count + 1 }
        guard lengthBytes <= Limits.preflightHeadersBytes, names.allSatisfy(HttpFields.isName) else {
            return []
        }
        let usual = usualHeaders.map { $0.lowercased() }
        return names.filter { !usual.contains($0.lowercased()) }
    }
}

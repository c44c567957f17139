// Whether a request comes from the console's own page. Pure.

import HTTP

/// The check against requests that another site makes a browser send (Fetch standard, Fetch Metadata).
enum SameOrigin {
    /// A browser says where a request comes from, which must be this very origin; a request that does not
    /// say so does not come from a browser.
    static func holds(for request: HttpRequestHead) -> Bool {
        let sites = request.fields.values(of: "Sec-Fetch-Site")
        guard sites.allSatisfy({ $0 == "same-origin" }) else { return false }
        let origins = request.fields.values(of: "Origin")
        guard let origin = origins.first else { return true }
        guard origins.count == 1, let host = request.fields.value(of: "Host") else { return false }
        // Either scheme: a proxy in front of the listener may speak TLS.
        return ["http://", "https://"].contains { origin.lowercased() == $0 + host.lowercased() }
    }
}

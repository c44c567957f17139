// The query of a request, checked for what its endpoint reads. Pure.

import HTTP

/// What is wrong with a request's parameters; the answer is 400.
struct ParameterFault: Error, Equatable {
    /// One line for the author of the client. Never holds a value.
    let detail: String

    init(_ detail: String) { self.detail = detail }
}

/// Reads the query of a request.
enum RequestQuery {
    /// The decoded query.
    ///
    /// - Parameter names: the parameters that the endpoint reads. One that comes twice is a fault: which of
    ///   the two counts would be anybody's guess, and a proxy's or a backend's may be another than ours.
    /// - Throws: the first fault of the query, even in a parameter that is not used.
    static func parameters(
        of request: HttpRequestHead, reading names: [StaticString]
    ) throws(ParameterFault) -> QueryParameters {
        let query: QueryParameters
        do throws(QueryError) {
            query = try request.queryParameters()
        } catch {
            let detail = request.withQuery { QueryParameters.fault(in: $0, known: names) }
            throw ParameterFault(detail ?? "a query parameter \(error)")
        }
        for name in names where query.count(of: name) > 1 {
            throw ParameterFault("parameter \(name) is given more than once")
        }
        return query
    }
}

// What an HTTP connection serves. Loop-confined.

import HTTP

/// Answers requests. Called on the connection's loop; must answer each request once, now or later.
protocol HttpHandler: AnyObject {
    func handle(_ request: HttpRequestHead, on connection: HttpConnection)

    /// The longest body that is kept for `handle`, which finds it in the connection's `requestBody`; 0 for a
    /// request whose body, if it has one, is of no use.
    func maximumBodyBytes(of request: HttpRequestHead) -> Int

    /// The fields that every answer to `request` carries; nil for a request whose head could not be read.
    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField]

    /// A request was refused before it came to `handle`.
    func refused(_ status: HttpStatus, _ detail: String, on connection: HttpConnection)
}

extension HttpHandler {
    func maximumBodyBytes(of request: HttpRequestHead) -> Int { 0 }

    func fieldsOfEveryAnswer(to request: HttpRequestHead?) -> [HttpResponseField] { [] }

    func refused(_ status: HttpStatus, _ detail: String, on connection: HttpConnection) {}
}

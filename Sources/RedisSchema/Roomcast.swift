// The name and the version of the whole: gateway, publisher and load test are released together.

/// What all binaries of the project say about themselves.
package enum Roomcast {
    /// Semantic version of this release.
    package static let version = "0.1.0"
}

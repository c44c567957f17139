// How long a connection without a request lives.
import Testing

@Suite(.cluster(options: ["--keep-alive-timeout", "10s"]))
struct KeepAliveTests {
    /// Sends a request and reads its answer.
    private func beat(_ raw: RawConnection) async throws {
        try await raw.send(requestText("/heartbeat?token=x"))
        let head = String(decoding: try await raw.receive(until: "\r\n\r\n").bytes, as: UTF8.self)
        #expect(head.hasPrefix("HTTP/1.1 500 "))
        #expect(try await raw.receive(22).bytes == Array(#"{"data":"token error"}"#.utf8))
    }

    /// Time is the subject: the busy connection outlives the idle one. It rests far less than 10 s between
    /// requests.
    @Test func idleConnectionIsClosedWhileABusyOneStays() async throws {
        let cluster = try Cluster.current
        let idle = try await RawConnection(cluster.driver, port: cluster.node.port)
        let busy = try await RawConnection(cluster.driver, port: cluster.node.port)
        try await beat(busy)
        let clock = ContinuousClock()
        let asked = clock.now
        try await beat(idle)
        try await eventually("the idle one is closed") {
            try await beat(busy)
            let (bytes, end) = try await idle.receive(1, within: .milliseconds(200))
            #expect(bytes.isEmpty)
            return end == .eof
        }
        #expect(clock.now - asked >= .seconds(10))
        try await beat(busy)
        try await idle.close()
        try await busy.close()
    }
}

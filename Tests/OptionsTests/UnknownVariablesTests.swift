import Testing

@testable import Options

@Suite struct UnknownVariablesTests {
    private static let inner = Program(
        name: "gateway look", version: "1", summary: "", variablePrefix: "GATEWAY_",
        options: [Option("look-at", .value(placeholder: "X"), section: "A", help: "")])
    private let program = Program(
        name: "gateway", version: "1", summary: "", variablePrefix: "GATEWAY_",
        options: [
            Option("heartbeat-timeout", .value(placeholder: "X"), section: "A", help: ""),
            Option(
                "listen", .value(placeholder: "X"), section: "A", fallbackVariables: ["GATEWAY_OLD"],
                help: ""),
            Option("admin-key", .value(placeholder: "X"), section: "A", isEnvironmentOnly: true, help: ""),
        ], subcommands: [Program.Subcommand(word: "look", program: inner)])

    private func unknown(_ variables: (String, String)...) -> [UnknownVariable] {
        program.unknownVariables(variables.map { (name: $0.0, value: $0.1) })
    }

    @Test(
        arguments: [
            ("GATEWAY_HEARTBEAT_TIMOUT", "GATEWAY_HEARTBEAT_TIMEOUT"), ("GATEWAY_LISTN", "GATEWAY_LISTEN"),
            ("GATEWAY_ADMINKEY", "GATEWAY_ADMIN_KEY"), ("GATEWAY_LOOKAT", "GATEWAY_LOOK_AT"),
            ("GATEWAY_SOMETHING_ELSE", nil), ("GATEWAY_", nil), ("GATEWAY_X", nil),
        ] as [(String, String?)])
    func misspeltVariablesAreNamedWithWhatWasMeant(name: String, meant: String?) {
        #expect(unknown((name, "hunter2")) == [UnknownVariable(name: name, suggestion: meant)])
    }

    @Test func knownAndForeignVariablesAreNot() {
        #expect(
            unknown(
                ("GATEWAY_HEARTBEAT_TIMEOUT", "1s"), ("GATEWAY_OLD", ""), ("GATEWAY_ADMIN_KEY", ""),
                ("GATEWAY_LOOK_AT", ""), ("PATH", ""), ("ROOMCAST_GATEWAY_X", ""), ("GATEWAYX", "")) == [])
    }

    /// For services called `gateway`, and for those whose names begin so.
    @Test(arguments: ["", "REDIS_", "ADMIN_V2_"])
    func variablesOfKubernetesAreNot(service: String) {
        let url = "tcp://10.96.0.1:8080"
        #expect(
            unknown(
                ("GATEWAY_\(service)SERVICE_HOST", "10.96.0.1"), ("GATEWAY_\(service)SERVICE_PORT", "8080"),
                ("GATEWAY_\(service)SERVICE_PORT_HTTP", "8080"),
                ("GATEWAY_\(service)SERVICE_PORT_ADMIN_UI", "1"),
                ("GATEWAY_\(service)PORT", url), ("GATEWAY_\(service)PORT_8080_TCP", url),
                ("GATEWAY_\(service)PORT_8080_TCP_PROTO", "tcp"),
                ("GATEWAY_\(service)PORT_8080_TCP_PORT", "8080"),
                ("GATEWAY_\(service)PORT_53_UDP_ADDR", "10.96.0.1"),
                ("GATEWAY_\(service)PORT_9_SCTP", "sctp://h:9"))
                == [])
    }

    @Test func whatOnlyLooksLikeThoseIsNamed() {
        for name in [
            "GATEWAY_PORT", "GATEWAY_PORT_8080", "GATEWAY_PORT_80_HTTP", "GATEWAY_PORT_TCP",
            "GATEWAY_SERVICE",
        ] {
            #expect(unknown((name, "8080")).map(\.name) == [name])
        }
    }

    @Test func warningHasNoValueAndIsOneLine() {
        let warnings = unknown(("GATEWAY_LISTEN\n", "hunter2")).map(\.warning)
        #expect(
            warnings == [
                "warning: unknown environment variable GATEWAY_LISTEN\\n, did you mean GATEWAY_LISTEN?"
            ])
    }
}

// The manifests in deploy/k8s against Kubernetes' schemas, against each other and against the gateway's
// options.
import Testing

@Suite struct KubernetesTests {
    private func check() throws -> CheckScript {
        CheckScript(
            name: "kubernetes_check.py", directory: Installation.root.appending(path: "deploy/k8s"),
            arguments: [try Installation.binary("gateway")])
    }

    @Test func manifestsAreValidAndAgree() async throws {
        let completed = try await check().run()
        #expect(completed.code == 0, "\(completed.output)")
        #expect(completed.errors.isEmpty, "\(completed.errors)")
    }

    /// The check itself: each of these mistakes is one that it has to find.
    @Test(arguments: [
        ("deployment.yaml", "minReadySeconds: 10", "minReadySecond: 10", "minReadySecond"),
        (
            "deployment.yaml", "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 46",
            "of grace"
        ),
        ("service.yaml", "targetPort: clients", "targetPort: client", "the service leads to port client"),
        ("gateway.env", "GATEWAY_DRAIN_TIME=30s", "GATEWAY_DRAIN_TIME=30s\nGATEWAY_NONE=1", "GATEWAY_NONE"),
        ("disruption-budget.yaml", "maxUnavailable: 1", "maxUnavailable: [1]", "disruption-budget.yaml"),
        ("gateway.env", "10.0.7.0/28", "10.0.0.0/8", "trusts more than an ingress controller"),
        (
            "network-policy.yaml", "    - ports: [{ port: clients }]", "    - {}",
            "the policy is for the ports"
        ),
        (
            "network-policy.yaml", "ports: [{ port: clients }]",
            "ports: [{ port: clients }, { port: admin }]", "everybody"
        ),
        (
            "network-policy.yaml", "ports: [{ port: admin }]", "ports: [{ port: 9090 }]",
            "the policy is for the ports"
        ),
    ])
    func mistakesAreFound(file: String, text: String, mistake: String, words: String) async throws {
        try await check().expectFound(mistake, inPlaceOf: text, in: file, words: words)
    }
}

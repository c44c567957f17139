// The manifests in deploy/k8s against Kubernetes' schemas, against each other and against the gateway's options.
import Foundation
import Testing

@Suite struct KubernetesTests {
    private static let manifests = Installation.root.appending(path: "deploy/k8s")

    private func check(_ directory: URL) async throws -> Completed {
        let script = Installation.root.appending(path: "Tests/EndToEndTests/Support/kubernetes_check.py").path
        let driver = try Driver()
        let completed = try await driver.run([
            try Installation.python(), "-B", script, directory.path, try Installation.binary("gateway"),
        ])
        await driver.stop()
        #expect(completed.errors.isEmpty, "\(completed.errors)")
        return completed
    }

    @Test func manifestsAreValidAndAgree() async throws {
        let completed = try await check(Self.manifests)
        #expect(completed.code == 0, "\(completed.output)")
    }

    /// The check itself: each of these mistakes is one that it has to find.
    @Test(arguments: [
        ("deployment.yaml", "minReadySeconds: 10", "minReadySecond: 10", "minReadySecond"),
        ("deployment.yaml", "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 46", "of grace"),
        ("service.yaml", "targetPort: clients", "targetPort: client", "the service leads to port client"),
        ("gateway.env", "GATEWAY_DRAIN_TIME=30s", "GATEWAY_DRAIN_TIME=30s\nGATEWAY_NONE=1", "GATEWAY_NONE"),
        ("disruption-budget.yaml", "maxUnavailable: 1", "maxUnavailable: [1]", "disruption-budget.yaml"),
        ("gateway.env", "10.0.7.0/28", "10.0.0.0/8", "trusts more than an ingress controller"),
        ("network-policy.yaml", "    - ports: [{ port: clients }]", "    - {}", "the policy is for the ports"),
        (
            "network-policy.yaml", "ports: [{ port: clients }]", "ports: [{ port: clients }, { port: admin }]",
            "everybody"
        ),
        ("network-policy.yaml", "ports: [{ port: admin }]", "ports: [{ port: 9090 }]", "the policy is for the ports"),
    ])
    func mistakesAreFound(file: String, text: String, mistake: String, words: String) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "roomcast-k8s-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: Self.manifests, to: directory)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: file)
        let content = try String(contentsOf: path, encoding: .utf8)
        try #require(content.contains(text))
        try content.replacing(text, with: mistake).write(to: path, atomically: true, encoding: .utf8)
        let completed = try await check(directory)
        #expect(completed.code == 1)
        #expect(completed.output.contains(words), "\(completed.output)")
    }
}

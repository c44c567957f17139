// Prometheus' configuration, alerts and Grafana's dashboard in deploy/, against real nodes and the real
// Prometheus. No Grafana runs here: the dashboard's form is checked, and Prometheus answers what it asks.
import Foundation
import Testing

@Suite struct MonitoringTests {
    private static let deploy = Installation.root.appending(path: "deploy")
    /// What stands in the dashboard for a choice of the reader or of Grafana, and what it is here.
    private static let variables = ["$node": ".+", "$__rate_interval": "10s", "$__range": "1m"]

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.deploy.appending(path: path), encoding: .utf8)
    }

    private func dashboard() throws -> JSON {
        try #require(JSON(parsing: try text("grafana/dashboards/roomcast.json")))
    }

    private func expressions() throws -> [String] {
        let panels = try dashboard()["panels"].array ?? []
        return panels.flatMap { $0["targets"].array ?? [] }.compactMap { $0["expr"].string }
    }

    private func promtool(_ arguments: String...) async throws {
        let program = try Installation.system("promtool", package: "prometheus")
        let driver = try Driver()
        let completed = try await driver.run([program] + arguments)
        await driver.stop()
        #expect(completed.code == 0, "\(completed.output)\(completed.errors)")
    }

    // MARK: Files

    @Test func configurationAndRulesAreValid() async throws {
        try await promtool("check", "config", Self.deploy.appending(path: "prometheus.yml").path)
        try await promtool("check", "rules", "--lint-fatal", Self.deploy.appending(path: "alerts.yml").path)
    }

    @Test func rulesPassTheirUnitTestsAndEachIsRaisedInOne() async throws {
        try await promtool("test", "rules", Self.deploy.appending(path: "alerts.test.yml").path)
        let raised = try Set(
            text("alerts.test.yml").matches(of: /alertname: (\w+)\n +exp_alerts:\n +- exp_labels/).map(\.1))
        let alerts = try Set(text("alerts.yml").matches(of: /- alert: (\w+)/).map(\.1))
        #expect(alerts.count > 10)
        #expect(alerts == raised)
    }

    @Test func everyMetricAndLabelThatIsNamedExists() async throws {
        try await Cluster.with { cluster in
            let metrics = try await cluster.node.metrics()
            let asked = try expressions().joined(separator: "\n")
            let rules = try text("alerts.yml") + text("alerts.test.yml")
            for name in Set(
                (asked + rules).matches(of: /\b(?:roomcast|process)_[a-z_]+/).map { String($0.output) })
            {
                let family = name.replacing(/_(bucket|sum|count)$/, with: "")
                #expect(
                    metrics.types[name] != nil || metrics.types[family] == "histogram",
                    "nothing is called \(name)")
            }
            for match in (asked + rules).matches(of: /\b(?:code|reason|role|result)="[^"]+"/) {
                #expect(
                    metrics.samples.keys.contains { $0.contains(match.output) },
                    "nothing has \(match.output)")
            }
        }
    }

    @Test func dashboardIsOfGrafanasForm() throws {
        let dashboard = try dashboard()
        let panels = try #require(dashboard["panels"].array)
        #expect(panels.count > 20)
        #expect(Set(panels.map { $0["id"].int }).count == panels.count, "ids are unique")
        let source = try text("grafana/provisioning/datasources/prometheus.yml")
        let names = Set((dashboard["templating"]["list"].array ?? []).compactMap { $0["name"].string })
        var taken: Set<[Int]> = []
        for panel in panels {
            let title = try #require(panel["title"].string)
            let place = panel["gridPos"]
            let (x, y) = (try #require(place["x"].int), try #require(place["y"].int))
            let (width, height) = (try #require(place["w"].int), try #require(place["h"].int))
            #expect(x + width <= 24, "\(title)")
            for column in x..<x + width {
                for line in y..<y + height {
                    #expect(taken.insert([column, line]).inserted, "\(title) overlaps")
                }
            }
            guard panel["type"].string != "row" else { continue }
            #expect(panel["description"].string?.isEmpty == false, "\(title) says what it shows")
            #expect(panel["fieldConfig"]["defaults"]["unit"].string != nil, "\(title) has a unit")
            #expect(
                panel["fieldConfig"]["defaults"]["thresholds"]["steps"].array?.isEmpty == false, "\(title)")
            let uid = try #require(panel["datasource"]["uid"].string)
            #expect(source.contains("uid: \(uid)\n"), "\(title): no source \(uid)")
            let targets = try #require(panel["targets"].array)
            #expect(
                Set(targets.map { $0["refId"].string }).count == targets.count, "\(title): refIds are unique"
            )
            for target in targets {
                let expression = try #require(target["expr"].string)
                for match in expression.matches(of: /\$(\w+)/) {
                    let name = String(match.1)
                    #expect(names.contains(name) || Self.variables["$" + name] != nil, "\(title): $\(name)")
                }
            }
        }
    }

    // MARK: Prometheus

    /// The deployed configuration, with the nodes of `cluster` in place of those that DNS knows, once a
    /// second.
    private func start(_ cluster: Cluster) async throws -> (Int, Child) {
        let program = try Installation.system("prometheus", package: "prometheus")
        let port = try await cluster.driver.freePort()
        let addresses = cluster.nodes.map { "127.0.0.1:\($0.adminPort)" }.joined(separator: ", ")
        let discovery = /dns_sd_configs:\n      - names: \[gateway\](?:\n        .+)+/
        var configuration = try text("prometheus.yml")
        #expect(configuration.contains(discovery))
        configuration.replace(discovery, with: "static_configs:\n      - targets: [\(addresses)]")
        configuration.replace(/(interval|timeout): \ds/) { "\($0.1): 1s" }
        let directory = cluster.driver.directory
        let rules = try text("alerts.yml").replacing(/for: \d+[sm]\n/, with: "for: 1s\n")
        try rules.write(to: directory.appending(path: "alerts.yml"), atomically: true, encoding: .utf8)
        let file = directory.appending(path: "prometheus.yml")
        try configuration.write(to: file, atomically: true, encoding: .utf8)
        let child = try await Child(
            cluster.driver, name: "prometheus",
            [
                program, "--config.file", file.path, "--web.listen-address", "127.0.0.1:\(port)",
                "--storage.tsdb.path", directory.appending(path: "prometheus").path,
            ])
        return (port, child)
    }

    private func query(_ cluster: Cluster, _ port: Int, _ expression: String) async throws -> [JSON] {
        let answer = try await cluster.driver.request(
            port, "/api/v1/query?query=\(expression.percentEncoded)")
        // 503 while it starts.
        guard let reply = JSON(parsing: answer.body) else { throw HarnessError(answer.body) }
        guard reply["status"].string == "success" else { throw Hopeless("\(expression): \(answer.body)") }
        return reply["data"]["result"].array ?? []
    }

    /// Something of everything that is counted: it has to be seen by a scrape before and one after.
    private func stir(_ cluster: Cluster, _ room: String) async throws {
        for node in cluster.nodes {
            _ = try await node.connect(room).close()
            _ = try await node.get("/ws", headers: handshakeHeaders())
        }
        try await cluster.redis.publish(room: room, "1")
        try await cluster.redis.publish(room: room, "no JSON")
    }

    @Test func realPrometheusAnswersTheDashboardAndRaisesTheAlertOfAKilledNode() async throws {
        try await Cluster.with(nodes: 2) { cluster in
            let room = cluster.room()
            var clients: [Client] = []
            for node in cluster.nodes { clients.append(try await node.connect(room)) }
            let (port, prometheus) = try await start(cluster)
            try await eventually("both nodes are scraped") {
                if let code = try await prometheus.exitCode(within: .zero) {
                    throw Hopeless("prometheus ended with \(code): \(prometheus.errorOutput.suffix(2000))")
                }
                return try await query(cluster, port, #"sum(up{job="roomcast"})"#).first?["value"][1].string
                    == "2"
            }
            _ = try await cluster.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            var waiting = Set(
                try expressions().map { Self.variables.reduce($0) { $0.replacing($1.key, with: $1.value) } })
            #expect(waiting.count > 30)
            try await eventually("every panel has data") {
                try await stir(cluster, room)
                for expression in waiting where try await !query(cluster, port, expression).isEmpty {
                    waiting.remove(expression)
                }
                return waiting.isEmpty
            }
            #expect(waiting.isEmpty, "without data")

            try await cluster.nodes[1].child.signal(SIGKILL)
            _ = try await cluster.nodes[1].child.exitCode()
            let firing = #"ALERTS{alertname="RoomcastNodeDown",alertstate="firing"}"#
            try await eventually("the alert of the killed node fires") {
                try await query(cluster, port, firing).map { $0["metric"]["instance"].string }
                    == ["127.0.0.1:\(cluster.nodes[1].adminPort)"]
            }
        }
    }
}

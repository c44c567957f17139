// The composition's files against each other, and a checkout whose files are closed to others or have other
// line ends.
import Foundation
import Glibc
import Testing

@Suite struct DeploymentTests {
    private static let check = CheckScript(
        name: "deployment_check.py", directory: Installation.root,
        paths: ["deploy", "packaging", "README.md", "README.zh-CN.md", "docs/OPERATIONS.md"])

    @Test func filesOfTheCompositionAgree() async throws {
        let completed = try await Self.check.run()
        #expect(completed.code == 0, "\(completed.output)\(completed.errors)")
    }

    /// The check itself: each of these mistakes is one that it has to find.
    @Test(arguments: [
        ("deploy/docker-compose.yml", "  pull_policy: never", "  build: ..", "services that build"),
        ("deploy/docker-compose.yml", "nginx.conf:ro,z", "nginx.conf:ro", "SELinux"),
        ("deploy/docker-compose.yml", "  user: root", "  user: nginx", "closed to others"),
        (
            "deploy/docker-compose.yml", #"["bash", "/etc/roomcast/nginx-start""#,
            #"["/etc/roomcast/nginx-start""#, "nginx runs"
        ),
        ("deploy/docker-compose.yml", "172.30.99}.2\n", "172.30.99}.0/24\n", "believe others"),
        ("deploy/docker-compose.yml", "172.30.99}.128/25", "172.30.99}.0/25", "another container"),
        (
            "deploy/docker-compose.yml", "RES_OPTIONS: timeout:1 attempts:2", "RES_OPTIONS: timeout:5",
            "waits long"
        ),
        (
            "deploy/docker-compose.yml", "--profile monitoring down", "--profile none",
            "how the profile is ended"
        ),
        ("deploy/docker-compose.yml", "  mem_limit: 256m", "  cpus: 1", "may take all memory"),
        ("deploy/docker-compose.yml", "core: 0", "core: 1", "dump core"),
        (
            "deploy/docker-compose.tls.yml", "rediss://observer", "redis://observer", "observe has no TLS"
        ),
        ("deploy/docker-compose.tls.yml", "- \"0\"", "- \"6380\"", "a plain port"),
        ("deploy/docker-compose.yml", "      GATEWAY_COMPRESSION:", "", "not both: ['GATEWAY_COMPRESSION']"),
        (
            "deploy/.env.example", "#GATEWAY_COMPRESSION=", "#COMPRESSION=",
            "not both: ['GATEWAY_COMPRESSION']"
        ),
        ("deploy/Dockerfile", "TLS,Compression --static", "TLS --static", "not all package traits"),
        (
            "deploy/docker-compose.cluster.yml", "cluster://observer", "redis://observer",
            "observe has no cluster"
        ),
        ("deploy/docker-compose.cluster.yml", "99}.16\" }", "99}.200\" }", "another container"),
        ("deploy/docker-compose.cluster.yml", "NGINX_MAX_FAILS: 0", "X: 0", "avoids gateways"),
        ("deploy/docker-compose.cluster.yml", "redis-3:/data", "redis-2:/data", "share a volume"),
        ("deploy/docker-compose.cluster.yml", "redis-cluster:ro,z", "redis-cluster:ro", "SELinux"),
        ("deploy/Dockerfile", "--chmod=755 ", "", "mode of a checkout"),
        (
            "deploy/Dockerfile", " .build/release/publisher",
            " .build/release/publisher .build/release/loadtest", "ships"
        ),
        ("deploy/redis-start", "ulimit -c 0", "ulimit -c 1", "redis-start may dump core"),
        ("packaging/roomcast-gateway.service", "LimitCORE=0", "LimitCORE=1", "the unit may dump core"),
        ("packaging/roomcast-gateway.service", "MemoryMax=75%", "", "the unit may take all memory"),
        (
            "packaging/gateway.env", "GATEWAY_LISTEN=127.0.0.1", "#GATEWAY_LISTEN=0.0.0.0",
            "listens for everybody"
        ),
        ("deploy/README.md", "install -m 600", "cp", "leaves passwords"),
    ])
    func mistakesAreFound(file: String, text: String, mistake: String, words: String) async throws {
        try await Self.check.expectFound(mistake, inPlaceOf: text, in: file, words: words)
    }

    // MARK: Checkouts

    /// Clones the repository's files as somebody does who shows them to nobody and has git write CRLF.
    private func clone(_ driver: Driver) async throws -> URL {
        let (source, clone) = (
            driver.directory.appending(path: "source"), driver.directory.appending(path: "clone")
        )
        let script = """
            set -e
            mkdir "$2"; cd "$1"
            cp -r .gitattributes .dockerignore deploy packaging scripts Package.swift "$2"
            rm -f "$2/deploy/.env"
            cd "$2"
            git init -q; git add --all
            git -c user.name=x -c user.email=x@localhost commit -q -m x
            umask 077
            git clone -q -c core.autocrlf=true "$2" "$3"
            """
        let completed = try await driver.run(
            ["bash", "-c", script, "clone", Installation.root.path, source.path, clone.path])
        try #require(completed.code == 0, "\(completed.errors)")
        return clone
    }

    @Test func everyFileThatIsRunOrReadHasUnixLineEnds() async throws {
        try await Driver.with { driver in
            let clone = try await clone(driver)
            let found = try await driver.run(["grep", "-rIl", "--exclude-dir=.git", "\r$", clone.path])
            #expect(found.output.isEmpty, "\(found.output)")
        }
    }

    /// The entry points of the composition's containers, with the capabilities and the users that these
    /// have, over files that belong to somebody else and are closed to all others.
    @Test(.enabled("as root only", { geteuid() == 0 }))
    func closedCheckoutStartsRedisAndNginx() async throws {
        try await Cluster.with { cluster in
            let driver = cluster.driver
            let clone = try await clone(driver)
            let state = driver.directory.appending(path: "state").path
            let prepared = try await driver.run([
                "bash", "-c",
                "chown -R 12345 \"$1\" && chmod -R go-rwx \"$1\" && mkdir -m 1777 \"$2\" \"$2/nginx\"",
                "prepare", clone.path, state,
            ])
            try #require(prepared.code == 0, "\(prepared.errors)")
            let confined = [
                "setpriv", "--bounding-set=-all,+dac_override,+setuid,+setgid", "--inh-caps=-all",
                "--no-new-privs",
            ]
            let redisPort = try await driver.freePort()
            let redis = try await Child(
                driver, name: "closed-redis",
                confined + [
                    "sh", clone.appending(path: "deploy/redis-start").path, state, "--port", "\(redisPort)",
                    "--dir", state,
                ],
                environment: [
                    "REDIS_USER": "nobody", "ROOMCAST_GATEWAY_PASSWORD": "g",
                    "ROOMCAST_PUBLISHER_PASSWORD": "p",
                ])
            let nginxPort = try await driver.freePort()
            let nginx = try await Child(
                driver, name: "closed-nginx",
                confined + ["bash", clone.appending(path: "deploy/nginx-start").path, "\(state)/nginx"],
                environment: [
                    "NGINX_USER": "nobody", "NGINX_LISTEN": "127.0.0.1:\(nginxPort)",
                    "NGINX_GATEWAYS": "127.0.0.1:\(cluster.node.port)",
                ])
            try await eventually("both answer") {
                for child in [redis, nginx] {
                    if let code = try await child.exitCode(within: .zero) {
                        throw Hopeless("\(child.name) ended with \(code): \(child.errorOutput.suffix(2000))")
                    }
                }
                let pong = try await driver.run(
                    ["redis-cli", "-p", "\(redisPort)", "--user", "publisher", "--pass", "p", "ping"])
                let answer = try? await driver.request(nginxPort, "/heartbeat?token=x")
                return pong.output.contains("PONG") && answer?.data == "token error"
            }
            for child in [redis, nginx] {
                let status = try String(contentsOfFile: "/proc/\(child.pid)/status", encoding: .utf8)
                #expect(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "\(status)")
                #expect(status.contains(/\nCapEff:\t0+\n/), "\(status)")
                try await child.signal(SIGTERM)
                #expect(try await child.exitCode() == 0, "\(child.errorOutput)")
            }
        }
    }
}

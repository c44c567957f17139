// The completions in the shells themselves, on a terminal, by the tab key.
import Foundation
import Testing

@Suite struct ShellCompletionTests {
    /// A shell that has read the completions of both programs, of one of them also under the name that the
    /// Debian package gives it, with a prompt of its own.
    private func withShell(_ name: String, _ body: (Terminal) async throws -> Void) async throws {
        try await Cluster.with(nodes: 0) { cluster in
            let shell = try Installation.system(name, package: name)
            var setup = name == "zsh" ? "autoload -Uz compinit && compinit -u -D; " : ""
            let renamed = cluster.driver.directory.appending(path: "roomcast-publisher").path
            try FileManager.default.createSymbolicLink(
                atPath: renamed, withDestinationPath: try Installation.binary("publisher"))
            for binary in [
                try Installation.binary("publisher"), try Installation.binary("gateway"), renamed,
            ] {
                let file =
                    "\(cluster.driver.directory.path)/\(URL(filePath: binary).lastPathComponent).\(name)"
                let script = try await cluster.driver.run([binary, "--completions", name])
                #expect(script.code == 0 && script.errors.isEmpty)
                try script.output.write(toFile: file, atomically: true, encoding: .utf8)
                setup += "source \(file); "
            }
            setup += "cd \(cluster.driver.directory.path); touch 'notices 1.ndjson'; "
            let options = ["bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]]
            let terminal = try await Terminal(
                cluster.driver, [shell] + (options[name] ?? []) + ["-i"], columns: 200, rows: 40,
                environment: ["HOME": cluster.driver.directory.path, "PS1": "$ "])
            // Not typed as it is to appear, or the echo would pass for it.
            try await terminal.type(setup + "echo rea''dy\r")
            try await terminal.awaitPicture("\(name) is set up") { picture in
                picture.lines.contains { $0.hasSuffix("ready") && !$0.contains("rea''dy") }
            }
            try await body(terminal)
        }
    }

    /// Types a line with a tab at its end, awaits what is to be seen, and makes the screen empty.
    private func expectCompletion(
        _ terminal: Terminal, of line: String, shows text: String
    ) async throws {
        try await terminal.type(line + "\t")
        try await terminal.awaitPicture("\(line) is completed to \(text)") { $0.text.contains(text) }
        // A colon before the line, by Ctrl-A, makes nothing of it. Ctrl-C would throw away what is typed
        // behind it.
        try await terminal.type("\u{1}: \rprintf '\\033[2J\\033[H'\r")
        try await terminal.awaitPicture("the screen is empty") { !$0.text.contains(text) }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func commandsOptionsValuesAndFilesAreCompleted(shell: String) async throws {
        try await withShell(shell) { terminal in
            try await expectCompletion(terminal, of: "publisher rev", shows: "publisher revoke")
            try await expectCompletion(
                terminal, of: "roomcast-publisher rev", shows: "roomcast-publisher revoke")
            try await expectCompletion(terminal, of: "publisher --on-err", shows: "publisher --on-error")
            try await expectCompletion(
                terminal, of: "publisher --on-error sk", shows: "publisher --on-error skip")
            try await expectCompletion(
                terminal, of: "publisher --on-error=st", shows: "publisher --on-error=stop")
            try await expectCompletion(terminal, of: "publisher rooms --to", shows: "publisher rooms --top")
            try await expectCompletion(
                terminal, of: "publisher rooms --top a", shows: "publisher rooms --top all")
            try await expectCompletion(
                terminal, of: "publisher --file noti", shows: "publisher --file notices\\ 1.ndjson")
            try await expectCompletion(
                terminal, of: "publisher watch --co", shows: "publisher watch --count")
            try await expectCompletion(
                terminal, of: "gateway --log-level w", shows: "gateway --log-level warning")
            try await expectCompletion(
                terminal, of: "gateway --admin-listen o", shows: "gateway --admin-listen off")
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func allCommandsAreListed(shell: String) async throws {
        try await withShell(shell) { terminal in
            try await terminal.type("publisher \t\t")
            try await terminal.awaitPicture("all commands") { picture in
                ["revoke", "nodes", "rooms", "watch", "top", "library"].allSatisfy {
                    picture.text.contains($0)
                }
            }
        }
    }
}

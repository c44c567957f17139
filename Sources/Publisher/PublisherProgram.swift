// From the command line to the exit code. Main thread; everything here blocks.

import EventLoop
import Glibc
import Options
import Redis

/// The publisher, start to end.
enum PublisherProgram {
    static let name = "publisher"

    /// Runs one call of any command.
    ///
    /// - Returns: the exit code.
    static func run() -> Int32 {
        Interruption.install()
        do {
            let (command, rest) = Command.named(in: try ProcessArguments.read())
            switch try command.program.parse(rest) {
            case .print(let text): return StandardStreams.printResult(text, of: name)
            case .run(let values):
                for unknown in PublisherOptions.program.unknownVariables() {
                    Console.complain(unknown.warning, of: name)
                }
                // A long file is published for hours, in which `ps` would show it.
                ProcessArguments.hidePasswords()
                return try command.perform(values)
            }
        } catch {
            Console.complain("\(error)", of: name)
            return error.exitStatus
        }
    }

    /// Checks the input before the connection, so that wrong usage sends nothing and needs no Redis.
    ///
    /// - Returns: the exit code.
    /// - Throws: `UsageError`, before anything is sent.
    static func publish(_ values: OptionValues) throws(UsageError) -> Int32 {
        let job = try Job(values)
        switch job.source {
        case .rooms(let rooms, let data):
            let payload = try payload(job, data)
            guard let targets = Target.connect(job) else { return 1 }
            Interruption.begin()
            var publisher = RoomPublisher(
                job: job, rooms: rooms, payload: payload, targets: targets,
                console: Console(of: name, progressStyle: .none))
            return publisher.run()
        case .file(let path):
            let input = try open(path, option: "--file")
            guard let targets = Target.connect(job) else { return 1 }
            Interruption.begin()
            let style = ProgressStyle(isQuiet: job.isQuiet)
            var publisher = FilePublisher(
                job: job, input: input, targets: targets, console: Console(of: name, progressStyle: style),
                progress: Progress(style: style, totalBytes: input.remainingBytes))
            return publisher.run()
        }
    }

    /// Connects and runs `body`. Until there is a connection a signal ends the process at once, also while a
    /// name is looked up or a pipe is opened.
    ///
    /// - Parameters:
    ///   - undone: what has not happened when there is no connection.
    ///   - endsAtSignals: whether a signal ends waiting for Redis.
    /// - Returns: the exit code.
    static func withRedis(
        _ settings: RedisSettings, undone: String, endsAtSignals: Bool = false,
        _ body: (RedisSession, EventLoop) -> Int32
    ) -> Int32 {
        do {
            let loop = try EventLoop()
            let watcher = endsAtSignals ? Interruption.watcher(on: loop) {} : nil
            let redis = try RedisSession(
                to: settings.url, timeout: settings.timeout, loop: loop,
                isInterrupted: { endsAtSignals && Interruption.requested != nil })
            Interruption.begin()
            return withExtendedLifetime(watcher) { body(redis, loop) }
        } catch {
            Console.complain("\(error); \(undone)", of: name)
            return 1
        }
    }

    private static func payload(_ job: Job, _ data: String) throws(UsageError) -> [UInt8] {
        let bytes = data == "-" ? try standardInput() : Array(data.utf8)
        do {
            let payload = try Notice.payload(type: job.type, data: bytes)
            if job.durability != nil { try Notice.checkDurable(payload) }
            return payload
        } catch {
            throw UsageError(
                origin: data == "-" ? "--data -" : "--data", value: data == "-" ? nil : data,
                expected: "one JSON value such as '{\"text\":\"hi\"}' (\(error))")
        }
    }

    private static func standardInput() throws(UsageError) -> [UInt8] {
        let input = try open("-", option: "--data")
        let chunk: InputFile.Chunk?
        do {
            chunk = try input.readAll(maximumBytes: Notice.maximumBytes)
        } catch {
            throw UsageError("--data -: cannot read stdin: \(error)")
        }
        guard case .bytes(let bytes) = chunk else {
            throw UsageError("--data -: stdin is longer than \(Notice.maximumBytes) bytes")
        }
        return bytes.starts(with: LineReader.byteOrderMark)
            ? Array(bytes.dropFirst(LineReader.byteOrderMark.count)) : bytes
    }

    private static func open(_ path: String, option: String) throws(UsageError) -> InputFile {
        do {
            return try InputFile(path: path)
        } catch {
            throw UsageError("\(option): cannot open \"\(path)\": \(error)")
        }
    }
}

// A load process from start to end: takes its orders over the inherited socket. Main thread.

import EventLoop
import Glibc
import System

/// The program that the coordinator starts for each share of the clients.
enum HolderProgram {
    /// The argument that makes the program a load process.
    static let argument = "--holder"

    /// Runs until the coordinator closes the control socket; its end is this process's end too.
    static func run() -> Int32 {
        _ = DescriptorLimit.raise()
        do throws(SystemError) {
            let loop = try EventLoop()
            let session = HolderSession(loop)
            session.start()
            // The loop holds its watchers unretained: the session that owns them must outlive it.
            withExtendedLifetime(session) { loop.run() }
            return 0
        } catch {
            return 1
        }
    }
}

/// The conversation with the coordinator.
private final class HolderSession {
    private let loop: EventLoop
    private var control: JsonLines<HolderOrder>?
    private var holder: Holder?

    init(_ loop: EventLoop) { self.loop = loop }

    func start() {
        control = JsonLines(
            Socket(descriptor: HolderDescriptors.control), on: loop,
            onEnd: { _ in
                // Thousands of connections: the kernel ends them faster than we could.
                exit(0)
            },
            onValue: { [unowned self] in self.take($0) })
    }

    private func take(_ order: HolderOrder) {
        switch order {
        case .prepare(let plan): prepare(plan)
        case .connect: holder?.connect()
        case .run: holder?.startRun()
        case .settle(let publishedCount): holder?.settle(publishedCount: publishedCount)
        }
    }

    private func prepare(_ plan: HolderPlan) {
        do throws(SystemError) {
            let board = try SharedBoard(
                inherited: HolderDescriptors.board, processCount: plan.processCount)
            holder = try Holder(plan, board: board, loop: loop) { [unowned self] in self.control?.send($0) }
            holder?.prepare()
        } catch {
            control?.send(HolderNews.failed(error.description))
        }
    }
}

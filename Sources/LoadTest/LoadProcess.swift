// Starting and ending a load process: this program again, with its descriptors in their places. Used by the
// coordinator, on its thread.

import EventLoop
import FoundationEssentials
import Glibc

/// A started load process.
struct LoadProcess {
    let pid: pid_t
    /// The coordinator's end of the conversation.
    let control: Socket

    /// Starts one.
    ///
    /// - Parameters:
    ///   - board: inherited; stays open here.
    ///   - completions: the write end of the pipe for completed messages; inherited, stays open here.
    /// - Throws: when the system gives no socket or no process.
    static func start(board: SharedBoard, completions: Int32) throws(SystemError) -> LoadProcess {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw SystemError(errno, "socketpair")
        }
        for end in ends {
            closeOnExec(end)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        // Copied out of the way of the targets, so that none is overwritten before it is put in place.
        let sources = [ends[1], board.descriptor, completions].map { fcntl($0, F_DUPFD_CLOEXEC, 64) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
            for descriptor in sources + [ends[1]] { close(descriptor) }
        }
        let targets = [HolderDescriptors.control, HolderDescriptors.board, HolderDescriptors.completions]
        for (source, target) in zip(sources, targets) {
            posix_spawn_file_actions_adddup2(&actions, source, target)
        }
        // A group of its own: Ctrl-C is for the coordinator, which then asks for the reports.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var pid: pid_t = 0
        let result = spawn(&pid, &actions, &attributes)
        guard result == 0 else {
            close(ends[0])
            throw SystemError(result, "posix_spawn")
        }
        return LoadProcess(pid: pid, control: Socket(descriptor: ends[0]))
    }

    /// Ends the process, which has nothing to finish, and waits for it.
    func end() {
        kill(pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    }

    static func closeOnExec(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    private static func spawn(
        _ pid: inout pid_t, _ actions: inout posix_spawn_file_actions_t,
        _ attributes: inout posix_spawnattr_t
    ) -> Int32 {
        var arguments: [UnsafeMutablePointer<CChar>?] = ["loadtest", HolderProgram.argument].map {
            (text: String) in strdup(text)
        }
        var environment: [UnsafeMutablePointer<CChar>?] = ProcessInfo.processInfo.environment.map {
            strdup("\($0.key)=\($0.value)")
        }
        arguments.append(nil)
        environment.append(nil)
        defer { for text in arguments + environment { free(text) } }
        return posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments, environment)
    }
}

// The descriptors 0, 1 and 2: opened where the caller has closed them, and written to.

import Glibc

/// Standard input, output and error of the process.
package enum StandardStreams {
    /// Opens those that are closed. Call it before anything else opens a descriptor: the kernel gives out
    /// the lowest free number, so that a socket could become the standard output, and its peer would get
    /// results and errors.
    ///
    /// Each is opened in the wrong direction: reading and writing fail with EBADF as on a closed descriptor.
    /// In the right direction lost results would count as shown, and a lost input as an empty one.
    package static func openClosed() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            // Not closed on exec: child processes need their three descriptors, too.
            var opened = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
            // Without /dev: a directory can be neither read nor written like a file.
            if opened < 0 { opened = open("/", O_RDONLY) }
            guard opened == descriptor else {
                let words: StaticString = "cannot open a closed standard stream\n"
                _ = Glibc.write(STDERR_FILENO, words.utf8Start, words.utf8CodeUnitCount)
                _exit(2)
            }
        }
    }

    /// Writes everything; waits where a pipe or a terminal that does not block is full.
    ///
    /// - Returns: 0, or the `errno` with which writing failed.
    package static func write(_ text: String, to descriptor: Int32) -> Int32 {
        write(Array(text.utf8), to: descriptor)
    }

    /// Writes everything; waits where a pipe or a terminal that does not block is full.
    ///
    /// - Returns: 0, or the `errno` with which writing failed.
    package static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            let code = count < 0 ? errno : 0
            switch code {
            case 0: rest = rest.dropFirst(count)
            case EINTR: break
            case EAGAIN:
                var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&watched, 1, -1)
            default: return code
            }
        }
        return 0
    }

    /// Prints the result of a call, such as its help or its report.
    ///
    /// - Parameter program: begins the line on stderr when it cannot be written.
    /// - Returns: the exit code.
    package static func printResult(_ text: String, of program: String) -> Int32 {
        exitCode(afterWriting: write(text, to: STDOUT_FILENO), of: program)
    }

    /// The exit code after writing a result: 0; or 1 with a line that says why writing failed; or, if the
    /// reader has gone, the code that shells use for SIGPIPE, without a line.
    ///
    /// - Parameters:
    ///   - code: 0, or the `errno` of writing.
    ///   - program: begins the line on stderr.
    package static func exitCode(afterWriting code: Int32, of program: String) -> Int32 {
        switch code {
        case 0: return 0
        case EPIPE: return 128 + SIGPIPE
        default:
            let reason = String(cString: strerror(code))
            _ = write("\(program): cannot write the result: \(reason)\n", to: STDERR_FILENO)
            return 1
        }
    }
}

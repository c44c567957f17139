import Glibc
import Options

StandardStreams.openClosed()
exit(LoadTestProgram.run())

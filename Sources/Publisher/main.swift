import Glibc
import Options

StandardStreams.openClosed()
exit(PublisherProgram.run())

import Glibc

exit(PublisherProgram.run(Array(CommandLine.arguments.dropFirst())))

import Glibc

exit(LoadTestProgram.run(Array(CommandLine.arguments.dropFirst())))

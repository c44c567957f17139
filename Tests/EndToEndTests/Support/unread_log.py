"""Runs a program whose log somebody reads, until a file exists: from then on nobody does, until it is gone.

Usage: unread_log.py FILE PROGRAM ARGUMENT…
"""
import ctypes, os, signal, sys, time

pause, argv = sys.argv[1], sys.argv[2:]
reading, writing = os.pipe()
program = os.getpid()
if os.fork() == 0:
    os.close(writing)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with the program
    if os.getppid() != program:
        sys.exit()
    while True:
        while os.path.exists(pause):
            time.sleep(0.01)
        line = os.read(reading, 4096)
        if not line:
            break
        os.write(2, line)
else:
    os.close(reading)
    os.dup2(writing, 2)
    os.close(writing)
    os.execvp(argv[0], argv)

"""Operations on pseudo-terminals: a program on one, its keys, its size, and its screen as PyPI `pyte` renders it."""
import asyncio, fcntl, os, struct, termios

import processes, programs

terminals = {}


class Terminal:
    """The controlling terminal of one child."""

    def __init__(self, columns, rows):
        import pyte
        self.parent, self.child = os.openpty()
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.written = bytearray()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(self.child)
        os.set_blocking(self.parent, False)
        asyncio.get_running_loop().add_reader(self.parent, self.read)

    def read(self):
        data = os.read(self.parent, 1 << 16)
        self.written += data
        self.stream.feed(data)

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def terminal_open(argv, columns, rows, env={}):
    """Starts a program that has a terminal; the answer is its pid, by which it is named from then on."""
    terminal = Terminal(columns, rows)

    def prepare():
        programs.die_with_parent()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    variables = processes.clean_environment({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | env)
    if "NO_COLOR" not in env:
        variables.pop("NO_COLOR", None)
    child = await asyncio.create_subprocess_exec(
        *argv, stdin=terminal.child, stdout=terminal.child, stderr=terminal.child, env=variables,
        preexec_fn=prepare, start_new_session=True)
    programs.children[child.pid] = child
    terminals[child.pid] = terminal
    return child.pid


async def terminal_type(pid, text):
    os.write(terminals[pid].parent, text.encode())


async def terminal_resize(pid, columns, rows):
    terminals[pid].resize(columns, rows)


async def terminal_show(pid):
    """What is to be seen: the lines, whether the cursor is, whether the alternate screen is on, and whether the
    terminal's settings are those of before the program; and how many colours and how many bytes were written."""
    terminal = terminals[pid]
    written = bytes(terminal.written)
    return {
        "lines": list(terminal.screen.display), "cursor": not terminal.screen.cursor.hidden,
        "alternate": written.rfind(b"\x1b[?1049h") > written.rfind(b"\x1b[?1049l"),
        "wraps": written.rfind(b"\x1b[?7h") >= written.rfind(b"\x1b[?7l"),
        "same": termios.tcgetattr(terminal.child) == terminal.settings,
        "styles": written.count(b"\x1b[1m") + written.count(b"\x1b[32m"), "bytes": len(written),
        "escapes": written.count(b"\x1b"),
    }


OPERATIONS = {f.__name__: f for f in (terminal_open, terminal_type, terminal_resize, terminal_show)}

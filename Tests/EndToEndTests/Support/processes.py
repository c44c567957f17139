"""Operations on processes and ports: start, signal, wait for, and run to the end."""
import asyncio, base64, ctypes, os, random, signal, socket

children = {}
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def environment(extra):
    """The caller's environment without the variables that the programs under test read."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GATEWAY_", "PUBLISHER_", "REDIS_"))}
    return kept | extra


async def spawn(argv, log, env={}):
    """Starts a process whose output goes to `log`.out and `log`.err (appended, so a restart keeps the old
    lines)."""
    with open(log + ".out", "ab") as out, open(log + ".err", "ab") as err:
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err, env=environment(env),
            preexec_fn=die_with_parent, start_new_session=True)
    children[child.pid] = child
    return child.pid


async def send_signal(pid, number):
    """Signals a child; one that has already been reaped is left alone, since its pid may belong to another
    process."""
    if children[pid].returncode is None:
        children[pid].send_signal(number)
    return None


async def wait(pid, timeout):
    """The exit code (negative for a signal), or null when the process is still running after `timeout`
    seconds."""
    if children[pid].returncode is not None:
        return children[pid].returncode
    try:
        return await asyncio.wait_for(children[pid].wait(), timeout)
    except asyncio.TimeoutError:
        return None


async def run(argv, env={}, stdin="", timeout=30):
    """Runs a process to its end with `stdin` (base64) as its input; killed after `timeout` seconds."""
    child = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(env), preexec_fn=die_with_parent, start_new_session=True)
    children[child.pid] = child
    try:
        out, err = await asyncio.wait_for(child.communicate(base64.b64decode(stdin)), timeout)
    except asyncio.TimeoutError:
        child.kill()
        out, err = await child.communicate()
        raise TimeoutError(f"{argv} did not end in {timeout} s; stderr: {err.decode(errors='replace')}")
    out, err = out.decode(errors="replace"), err.decode(errors="replace")
    return {"code": child.returncode, "out": out, "err": err}


async def free_port():
    """A free port below the ephemeral range: a client that reconnects to a stopped server's port within
    that range can be given the same number as its own source port, and then talks to itself."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def kill_all():
    """Kills what is left, with its own children: each process leads a group, and a group outlives its
    leader."""
    for pid in children:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


OPERATIONS = {"spawn": spawn, "signal": send_signal, "wait": wait, "run": run, "free_port": free_port}

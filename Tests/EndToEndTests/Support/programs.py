"""Operations on processes and ports: start, signal, wait for, and run to the end."""
import asyncio, base64, os, signal

import free_ports, processes

children = {}


def die_with_parent():
    processes.die_with_parent(signal.SIGKILL)


async def spawn(argv, log, env={}):
    """Starts a process whose output goes to `log`.out and `log`.err (appended, so a restart keeps the old
    lines)."""
    with open(log + ".out", "ab") as out, open(log + ".err", "ab") as err:
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err, env=processes.clean_environment(env),
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


async def run(argv, env={}, stdin="", timeout=240):
    """Runs a process to its end with `stdin` (base64) as its input; killed after `timeout` seconds."""
    child = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=processes.clean_environment(env), preexec_fn=die_with_parent, start_new_session=True)
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
    return free_ports.free_ports(1)[0]


def kill_all():
    """Kills what is left, with its own children: each process leads a group, and a group outlives its
    leader."""
    for pid in children:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


OPERATIONS = {"spawn": spawn, "signal": send_signal, "wait": wait, "run": run, "free_port": free_port}

"""Processes under measurement: starting them on chosen processors, their CPU time and their memory.

Used by every other file of this folder. A server is a tree of processes (a supervisor, its workers);
its figures are sums over the tree. Only processes started here are ever signalled, by their id.
"""

import os
import shutil
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A measurement that cannot be made; the text says why."""


def processors():
    """The processor of the server under test, and those of everything else (load, upstream)."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[1:] or available


def free_port():
    """A TCP port that was free a moment ago, chosen by the kernel."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """The process `pid` and all its living descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        queue += children.get(current, [])
    return found


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_seconds(pid):
    """User and system time that the tree of `pid` has used so far, as a pair."""
    user, system = 0, 0
    for member in tree(pid):
        fields = stat_fields(member)
        if fields:
            user += int(fields[11])
            system += int(fields[12])
    return user / TICKS_PER_SECOND, system / TICKS_PER_SECOND


def pss_bytes(pid):
    """Memory of the tree of `pid`, with pages shared between processes counted once."""
    total = 0
    for member in tree(pid):
        try:
            with open(f"/proc/{member}/smaps_rollup") as file:
                for line in file:
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


def start(command, log, cpus, environment=None, cwd=None):
    """Starts a server in the foreground, bound to `cpus`, its output in the file `log`."""
    if not (shutil.which(command[0]) or os.access(command[0], os.X_OK)):
        raise Failure(f"{command[0]} is not installed")
    with open(log, "wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))


def stop(process):
    """Ends a server and every process that it started: politely, then by force."""
    if process.poll() is not None:
        return
    members = tree(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in members[1:]:
        if stat_fields(member) and os.path.exists(f"/proc/{member}"):
            try:
                os.kill(member, 9)
            except ProcessLookupError:
                pass


def wait_until_open(port, process, log, seconds=20):
    """Returns when somebody accepts connections at `port`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.002)
    with open(log, errors="replace") as file:
        raise Failure("did not start: " + file.read()[-800:].strip())


def wait_until_served(port, process, log, seconds=20, path="/nothing"):
    """Returns when a plain HTTP request to `port` was answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                if client.recv(12).startswith(b"HTTP/1.1 "):
                    return
        except OSError:
            pass
        time.sleep(0.002)
    with open(log, errors="replace") as file:
        raise Failure("did not start: " + file.read()[-800:].strip())

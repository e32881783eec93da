"""CPU per request: the works that a load generator drives, and how one run of one is measured.

The figure is the CPU time (user + system) of all processes of the server under test, used during the
run, divided by the requests done. It does not depend on how fast the load generator is, so that the
generator and the upstream may share the second processor of a small machine.
"""

import os
import re
import resource
import subprocess
import sys
import time

from . import process


class Work:
    """One row of the table: what is asked, how often at a time, and what nginx's ratio should be."""

    def __init__(self, name, title, path, bar, **options):
        self.name, self.title, self.path, self.bar = name, title, path, bar
        self.connections = options.get("connections", 64)
        self.tls = options.get("tls", False)
        self.handshakes = options.get("handshakes", False)
        self.streams = options.get("streams", 0)
        self.body_bytes = options.get("body_bytes", 0)
        self.resumed = options.get("resumed", False)
        self.message = options.get("message")
        self.unable = options.get("unable", ())
        self.is_forwarding = options.get("is_forwarding", False)


WORKS = [
    Work("small", "small proxied request, keep-alive, 64 connections", "/small", 0.85,
         is_forwarding=True),
    Work("body", "100 KiB proxied response, 16 connections", "/body", 0.60, connections=16,
         is_forwarding=True),
    Work("tls", "small proxied request, TLS 1.3 keep-alive, 64 connections", "/small", 0.92,
         tls=True),
    Work("handshake", "TLS 1.3 full handshake, P-256", "/nothing", 1.00, tls=True,
         handshakes=True),
    Work("resumed", "TLS 1.3 resumed handshake", "/nothing", 1.00, tls=True, resumed=True),
    Work("static", "static file 1 KiB, open_file_cache on, 64 connections", "/files/1k.txt", 0.80,
         unable=("haproxy",)),
    Work("large", "static file 64 MiB, 4 connections", "/files/64m", 1.00, connections=4,
         body_bytes=64 << 20, unable=("haproxy",)),
    Work("h2", "HTTP/2, 16 connections × 32 streams, small proxied response", "/small", 0.65,
         connections=16, streams=32),
    Work("h2-body", "HTTP/2, 16 connections × 8 streams, 100 KiB proxied response", "/body", 0.80,
         connections=16, streams=8),
    Work("h2-static", "HTTP/2, 16 connections × 32 streams, static 1 KiB", "/files/1k.txt", 0.70,
         connections=16, streams=32, unable=("haproxy",)),
    Work("grpc", "gRPC unary call, 4 connections × 16 streams", "/call", 0.75,
         connections=4, streams=16, message="files/call", unable=("haproxy", "h2o", "caddy")),
]

# Connections that h2load opens at once when it measures handshakes; each makes one request.
HANDSHAKES_AT_ONCE = 400


class Run:
    """The outcome of one run: microseconds of CPU per request, those of them outside the kernel, those
    of the load generator, the part of the time that the server was busy, requests a second, errors
    seen."""

    def __init__(self, user, system, client_cpu, requests, seconds, errors):
        self.microseconds = (user + system) * 1e6 / max(requests, 1e-9)
        self.user_microseconds = user * 1e6 / max(requests, 1e-9)
        self.client_microseconds = client_cpu * 1e6 / max(requests, 1e-9)
        self.busy = (user + system) / seconds
        self.rate, self.errors = requests / seconds, errors


def measure(work, peer, seconds):
    """Drives `peer` with `work` for about `seconds` and returns a Run."""
    load = (handshake_load if work.handshakes else resumption_load if work.resumed
            else http2_load if work.streams else wrk_load)
    load(work, peer, 0.3)
    (user, system), started = process.cpu_seconds(peer.process.pid), time.monotonic()
    client_before = children_seconds()
    requests, errors = load(work, peer, seconds)
    elapsed = time.monotonic() - started
    user_end, system_end = process.cpu_seconds(peer.process.pid)
    client_used = children_seconds() - client_before
    if requests <= 0:
        raise process.Failure(f"{work.name}: no request was answered")
    return Run(user_end - user, system_end - system, client_used, requests, elapsed, errors)


def children_seconds():
    """CPU time of the processes that this one has started and waited for: the load generators."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wrk_load(work, peer, seconds):
    """Requests done (for large bodies: bytes read in units of one body) and errors, by wrk."""
    scheme, port = ("https", peer.https) if work.tls else ("http", peer.http)
    output = load_generator(
        ["wrk", "-t1", f"-c{work.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s",
         f"{scheme}://localhost:{port}{work.path}"])
    requests = int(number(r"(\d+) requests in", output))
    errors = int(number(r"Non-2xx or 3xx responses: (\d+)", output))
    errors += sum(int(n) for n in re.findall(r"(?:connect|read|write) (\d+)", output))
    if work.body_bytes:
        amount, unit = re.search(r"requests in \S+, ([\d.]+)(\w+) read", output).groups()
        units = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
        return float(amount) * units[unit] / work.body_bytes, errors
    return requests, errors


def handshake_load(work, peer, seconds):
    """Connections made, each with a full handshake and one request, and errors, by h2load."""
    done = errors = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        output = load_generator(
            ["h2load", "--h1", "--groups=P-256", f"-n{HANDSHAKES_AT_ONCE}",
             f"-c{HANDSHAKES_AT_ONCE}", f"https://localhost:{peer.https}{work.path}"])
        if "TLSv1.3" not in output:
            raise process.Failure("handshake: TLS 1.3 was not negotiated")
        succeeded = int(number(r"(\d+) succeeded", output))
        done += succeeded
        errors += HANDSHAKES_AT_ONCE - succeeded
    return done, errors


def resumption_load(work, peer, seconds):
    """Connections made, each with a resumed handshake and one request, and errors."""
    script = os.path.join(os.path.dirname(__file__), "resume.py")
    output = load_generator([sys.executable, script, str(peer.https), work.path, str(seconds)])
    return int(number(r"(\d+) resumed", output)), int(number(r"(\d+) not", output))


def http2_load(work, peer, seconds):
    """Requests done and errors, by h2load with prior knowledge; with a message: calls of gRPC."""
    call = []
    if work.message:
        call = ["-d", f"{peer.arena.folder}/{work.message}", "-H", "content-type: application/grpc",
                "-H", "te: trailers"]
    output = load_generator(
        ["h2load", f"-c{work.connections}", f"-m{work.streams}", f"-D{max(1, round(seconds))}"]
        + call + [f"http://localhost:{peer.http2}{work.path}"])
    done = int(number(r"(\d+) 2xx", output))
    failed = int(number(r"(\d+) failed", output))
    return done, failed


def load_generator(command):
    _, others = process.processors()
    cpus = ",".join(str(cpu) for cpu in others)
    result = subprocess.run(
        ["taskset", "-c", cpus] + command, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        raise process.Failure(f"{command[0]}: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout


def number(pattern, text):
    match = re.search(pattern, text)
    return match.group(1) if match else 0

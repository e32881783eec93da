"""Start and reload with 10,000 servers of 5 locations each, for the peers that read nginx's language.

Start is the time from exec to the first answer. During a reload one prober asks over one keep-alive
connection, request after request; the stall is the longest time that one request took, counting a
reconnection if the server closed the connection. The reload is over when the answer is the new one.
"""

import os
import signal
import socket
import threading
import time

from . import process

SERVERS = 10_000

HEAD = """
{user}
worker_processes 1;
daemon off;
pid {folder}/many-{name}.pid;
error_log {folder}/many-{name}.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; {nginx_only}
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{http} default_server; location / {{ return 200 "GENERATION"; }} }}
"""

SERVER = """
  server {{
    listen 127.0.0.1:{http};
    server_name site{n}.example www.site{n}.example;
    location / {{ proxy_pass http://app; proxy_set_header Host $host; }}
    location /static/ {{ root {folder}; expires 1h; }}
    location = /healthz {{ return 200 "ok"; }}
    location ~ \\.php$ {{ return 404; }}
    location /api/ {{ proxy_pass http://app/; }}
  }}
"""

NGINX_HASHES = "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;"


class Prober(threading.Thread):
    """Asks again and again over one connection and keeps the longest time, until it is told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.client = port, None
        self.longest = 0.0
        self.reconnections = self.failures = 0
        self.last, self.ended = b"", False

    def run(self):
        while not self.ended:
            started = time.monotonic()
            try:
                self.last = self.ask()
            except OSError:
                self.failures += 1
                self.drop()
            self.longest = max(self.longest, time.monotonic() - started)
            time.sleep(0.0005)

    def ask(self):
        if self.client:
            answer = self.exchange()
            if answer:
                return answer
            self.drop()
            self.reconnections += 1
        self.client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return self.exchange()

    def exchange(self):
        try:
            self.client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return self.client.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    def drop(self):
        if self.client:
            self.client.close()
        self.client = None


def configuration(peer, generation, servers):
    """The text of a configuration with `servers` sites; its default server answers `generation`."""
    fill = peer.arena.fill
    text = fill(HEAD, peer).replace("GENERATION", generation)
    if peer.name == "nginx":
        text += NGINX_HASHES
    one = fill(SERVER.replace("{n}", "@"), peer)
    return text + "".join(one.replace("@", str(n)) for n in range(servers)) + "}\n"


def measure(peer, servers=SERVERS):
    """Seconds to start, the longest stall in seconds, seconds until the new configuration answers."""
    file = peer.arena.write(f"many-{peer.name}.conf", configuration(peer, "first", servers))
    cpu, _ = process.processors()
    started = time.monotonic()
    running = process.start(peer.command_for(file), peer.log, {cpu})
    try:
        process.wait_until_served(peer.http, running, peer.log, seconds=60, path="/")
        start_seconds = time.monotonic() - started
        stall, reload_seconds = reload(peer, running, servers)
        return start_seconds, stall, reload_seconds
    finally:
        process.stop(running)


def reload(peer, running, servers):
    """The longest stall and the duration of one reload of the server `running`."""
    peer.arena.write(f"many-{peer.name}.conf", configuration(peer, "second", servers))
    prober = Prober(peer.http)
    prober.start()
    time.sleep(1)
    prober.longest = 0.0
    signalled = time.monotonic()
    os.kill(running.pid, signal.SIGHUP)
    while b"second" not in prober.last:
        if time.monotonic() - signalled > 60:
            raise process.Failure("reload: the new configuration never answered")
        time.sleep(0.001)
    reload_seconds = time.monotonic() - signalled
    time.sleep(1)
    prober.ended = True
    prober.join()
    prober.drop()
    if prober.failures:
        raise process.Failure(f"reload: {prober.failures} requests failed")
    return prober.longest, reload_seconds

"""The servers that are compared: one configuration each, all doing the same works with one worker.

Every peer answers on a plain and on a TLS port (TLS 1.3, a P-256 certificate):
  /small, /body   proxied, over kept connections, to the same upstream
  /call           passed to a gRPC server: fields, a message, trailers (nginx and Portico only)
  /files/...      static files (HAProxy serves none)
  /nothing        an empty fixed answer, for handshakes
The same by HTTP/2 on the TLS port, and with prior knowledge on a third one. Each configuration is the
best fair one that we know: no logs, kept upstream connections, sendfile. nginx and Portico get the same
text; what only nginx needs stands in `NGINX_ONLY`.
"floor" is no server but a yardstick (floor.c): what passing the bytes costs without looking at them.
"""

import os
import subprocess

from . import process

# The paths nginx would otherwise create where the distribution compiled them in.
NGINX_ONLY = """
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""

NGINX_SMALL = """
{user}
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; {nginx_only}
  types {{ text/plain txt; }}
  default_type application/octet-stream;
  sendfile on; tcp_nopush off;
  keepalive_requests 100000000; keepalive_timeout 300s;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key;
  ssl_protocols TLSv1.3; ssl_session_cache shared:SSL:10m;
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  upstream calls {{ server 127.0.0.1:{grpc}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl http2; listen 127.0.0.1:{http2} http2;
    server_name localhost;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
    location = /call {{ grpc_pass grpc://calls; }}
    location /files/ {{ root {folder}; }}
    location = /nothing {{ return 204; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 9000
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout http-keep-alive 300s
  http-reuse always
frontend door
  bind 127.0.0.1:{http}
  bind 127.0.0.1:{http2} proto h2
  bind 127.0.0.1:{https} ssl crt {folder}/both.pem ssl-min-ver TLSv1.3 alpn h2,http/1.1
  http-request return status 204 if {{ path /nothing }}
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""

H2O = """
{user}
num-threads: 1
max-connections: 16384
listen: {{ host: 127.0.0.1, port: {http} }}
listen: {{ host: 127.0.0.1, port: {http2} }}
listen:
  host: 127.0.0.1
  port: {https}
  ssl:
    certificate-file: {folder}/leaf.pem
    key-file: {folder}/leaf.key
    ocsp-update-interval: 0
    neverbleed: OFF
http1-request-timeout: 300
error-log: {folder}/h2o.log
hosts:
  default:
    paths:
      /files:
        file.dir: {folder}/files
      /nothing:
        file.dir: {folder}/empty
      /:
        proxy.reverse.url: "http://127.0.0.1:{upstream}/"
        proxy.timeout.keepalive: 300000
"""

CADDY = """
{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2 h2c
  }}
}}
(site) {{
  bind 127.0.0.1
  handle /nothing {{
    respond 204
  }}
  handle /files/* {{
    root * {folder}
    file_server
  }}
  handle {{
    reverse_proxy 127.0.0.1:{upstream}
  }}
}}
http://localhost:{http}, http://localhost:{http2} {{
  import site
}}
https://localhost:{https} {{
  import site
  tls {folder}/leaf.pem {folder}/leaf.key {{
    protocols tls1.3
  }}
}}
"""


class Peer:
    """One server under test: its name, its process and its three ports."""

    def __init__(self, name, binary, arena):
        self.name, self.binary, self.arena = name, binary, arena
        self.http, self.https = process.free_port(), process.free_port()
        self.http2 = process.free_port()
        self.log = f"{arena.folder}/{name}.out"
        self.process = None

    @property
    def speaks_nginx(self):
        return self.name in ("nginx", "portico")

    @property
    def is_floor(self):
        return self.name == "floor"

    def start(self):
        """Starts the server on its own processor and waits for the first answer."""
        cpu, _ = process.processors()
        self.process = process.start(
            self.command(), self.log, {cpu}, {"GOMAXPROCS": "1", "XDG_DATA_HOME": self.arena.folder})
        try:
            process.wait_until_served(self.http, self.process, self.log)
        except process.Failure:
            process.stop(self.process)
            raise

    def stop(self):
        if self.process:
            process.stop(self.process)

    def command(self):
        if self.is_floor:
            return [self.arena.build("floor"), str(self.http), str(self.arena.upstream)]
        text = {"haproxy": HAPROXY, "h2o": H2O, "caddy": CADDY}.get(self.name, NGINX_SMALL)
        file = self.arena.write(f"{self.name}.conf", self.arena.fill(text, self))
        return self.command_for(file)

    def command_for(self, file):
        """The words that start this server in the foreground with the configuration `file`."""
        return {
            "haproxy": [self.binary, "-db", "-f", file],
            "h2o": [self.binary, "-m", "worker", "-c", file],
            "caddy": [self.binary, "run", "--adapter", "caddyfile", "--config", file],
        }.get(self.name, [self.binary, "-p", self.arena.folder, "-c", file])


class Arena:
    """The temporary folder of a run: certificates, files, configurations, and the upstream."""

    def __init__(self, folder):
        self.folder = folder
        self.upstream, self.grpc = process.free_port(), process.free_port()
        os.chmod(folder, 0o755)
        for name in ("files", "empty", "logs"):
            os.mkdir(f"{folder}/{name}")
        self.write("empty/index.html", "")
        for name, size in (("1k.txt", 1024), ("100k", 100 << 10), ("64m", 64 << 20)):
            with open(f"{folder}/files/{name}", "wb") as file:
                file.write(b"0123456789abcdef" * (size // 16))
        # A gRPC message of 16 bytes: not compressed, its length, itself.
        with open(f"{folder}/files/call", "wb") as file:
            file.write(b"\0\0\0\0\x10" + b"0123456789abcdef")
        self.make_certificate()
        self.process = self.grpc_process = None

    def make_certificate(self):
        leaf, key = f"{self.folder}/leaf.pem", f"{self.folder}/leaf.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-keyout", key, "-out", leaf],
            check=True, capture_output=True)
        os.chmod(key, 0o644)
        self.write("both.pem", open(leaf).read() + open(key).read())

    def build(self, name):
        """Compiles NAME.c of this folder and returns the program's path."""
        program = f"{self.folder}/{name}"
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.c")
        try:
            subprocess.run(["cc", "-O2", "-o", program, source], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise process.Failure(f"{name}.c was not compiled: {error}") from error
        return program

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def fill(self, text, peer):
        """A configuration with ports, paths and the user of `peer` filled in."""
        root, nginx = os.geteuid() == 0, peer.name == "nginx"
        user = "" if not root else "user: root" if peer.name == "h2o" else "user root;"
        return text.format(
            folder=self.folder, name=peer.name, upstream=self.upstream, grpc=self.grpc, http=peer.http,
            https=peer.https, http2=peer.http2, user=user,
            nginx_only=NGINX_ONLY.format(folder=self.folder) if nginx else "")

    def start_upstream(self):
        """The application behind every peer, on another processor: see upstream.c."""
        log = f"{self.folder}/upstream.out"
        _, others = process.processors()
        self.process = process.start([self.build("upstream"), str(self.upstream)], log, set(others))
        process.wait_until_served(self.upstream, self.process, log, path="/")

    def start_grpc_server(self):
        """A server that answers calls with a message and trailers: nghttpd, which is fast."""
        _, others = process.processors()
        self.grpc_process = process.start(
            ["nghttpd", "--no-tls", "-n1", "--trailer=grpc-status: 0", "-d",
             f"{self.folder}/files", "-a", "127.0.0.1", str(self.grpc)],
            f"{self.folder}/grpc.out", set(others))
        process.wait_until_open(self.grpc, self.grpc_process, f"{self.folder}/grpc.out")

    def stop(self):
        for server in (self.process, self.grpc_process):
            if server:
                process.stop(server)

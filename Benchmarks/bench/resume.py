"""Load of resumed TLS 1.3 handshakes: resume.py PORT PATH SECONDS.

One connection at a time, each with the ticket that the one before was given, one request, and the
server's close. Prints how many were resumed and how many were not.
"""

import socket
import ssl
import sys
import time


def exchange(context, port, path, session):
    """One connection: the session for the next one, and whether this one resumed `session`."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
            secured.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                            .encode())
            answer = b""
            while piece := secured.recv(65536):
                answer += piece
            if not answer.startswith(b"HTTP/1.1 2"):
                raise ssl.SSLError(f"unexpected answer: {answer[:40]!r}")
            return secured.session, secured.session_reused


def main():
    port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    session, _ = exchange(context, port, path, None)
    resumed = others = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        session, was_resumed = exchange(context, port, path, session)
        resumed += was_resumed
        others += not was_resumed
    print(f"{resumed} resumed, {others} not")


main()

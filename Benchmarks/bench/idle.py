"""Memory per idle keep-alive connection: N connections, each having done one proxied request.

The figure is the growth of the server's proportional set size, divided by N. The server is a fresh one
that has answered one wave of requests before, so that what it allocates once is not counted. It is
looked at after the connections have been quiet for some seconds.
"""

import socket
import ssl
import time

from . import process

REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
# Preface, empty SETTINGS, and HEADERS that end stream 1: GET, https, localhost, /small (RFC 7541).
HTTP2_BLOCK = b"\x82\x87\x41\x09localhost\x04\x06/small"
HTTP2_REQUEST = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
                 + len(HTTP2_BLOCK).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + HTTP2_BLOCK)
WARM_UP = 50
QUIET_SECONDS = 3


def measure(peer, connections, tls, http2=False):
    """Bytes per idle connection of `peer`, which must be freshly started."""
    context = ssl.create_default_context() if tls else None
    if http2:
        context.set_alpn_protocols(["h2"])
    if context:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for client in [open_one(peer, context) for _ in range(WARM_UP)]:
        client.close()
    time.sleep(0.5)
    before = process.pss_bytes(peer.process.pid)
    clients = [open_one(peer, context) for _ in range(connections)]
    try:
        time.sleep(QUIET_SECONDS)
        return (process.pss_bytes(peer.process.pid) - before) / connections
    finally:
        for client in clients:
            client.close()


def open_one(peer, context):
    """A connection that has had one request answered and stays open."""
    port = peer.https if context else peer.http
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    if context:
        client = context.wrap_socket(client, server_hostname="localhost")
    http2 = context and client.selected_alpn_protocol() == "h2"
    client.sendall(HTTP2_REQUEST if http2 else REQUEST)
    received = b""
    while b"application\n" not in received:
        piece = client.recv(4096)
        if not piece:
            raise process.Failure("idle: the connection was closed")
        received += piece
    return client

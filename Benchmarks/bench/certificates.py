"""Start and memory with 10,000 sites that each have a certificate and key of their own.

Start is the time from exec to the first answer. Memory is what the server has more, a certificate, than
with as many sites that share one: nothing was asked of any of them yet. The pairs (P-256, with the
certificate of their CA) are made by Python's `cryptography`; without it there is no row.
"""

import datetime
import os
import time

from . import process

COUNT = 10_000

HEAD = """
{user}
worker_processes 1;
daemon off;
pid {folder}/certificates-{name}.pid;
error_log {folder}/certificates-{name}.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key;
  server {{ listen 127.0.0.1:{http} default_server; location / {{ return 200 "ok"; }} }}
"""

SERVER = """
  server {{
    listen 127.0.0.1:{https} ssl; server_name site@.example; location / {{ return 200 "ok"; }}
    PAIR
  }}
"""

PAIR = "ssl_certificate {folder}/pairs/@.crt; ssl_certificate_key {folder}/pairs/@.key;"

NGINX_HASHES = "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;"


def make_pairs(folder, count):
    """Writes the pairs 0.crt, 0.key and so on into `folder`."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise process.Failure(f"certificates: {error}") from error
    os.makedirs(folder)
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)

    def certificate(name, key, signer):
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, "CA")]
        built = (x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
                 .public_key(key.public_key()).serial_number(x509.random_serial_number())
                 .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=90))
                 .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False))
        return built.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    signer = ec.generate_private_key(ec.SECP256R1())
    chain = certificate("CA", signer, signer)
    for number in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        with open(f"{folder}/{number}.crt", "wb") as file:
            file.write(certificate(f"site{number}.example", key, signer) + chain)
        with open(f"{folder}/{number}.key", "wb") as file:
            file.write(key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))


def measure(peer, count=COUNT):
    """Seconds to start, and bytes a certificate."""
    if not os.path.exists(f"{peer.arena.folder}/pairs"):
        make_pairs(f"{peer.arena.folder}/pairs", count)
    _, shared = run(peer, "", count)
    seconds, own = run(peer, PAIR, count)
    return seconds, (own - shared) / count


def run(peer, pair, count):
    """Seconds to start, and bytes of memory once the server is at rest."""
    fill = peer.arena.fill
    text = fill(HEAD, peer) + (NGINX_HASHES if peer.name == "nginx" else "")
    one = fill(SERVER.replace("PAIR", pair), peer)
    text += "".join(one.replace("@", str(number)) for number in range(count)) + "}\n"
    file = peer.arena.write(f"certificates-{peer.name}.conf", text)
    cpu, _ = process.processors()
    started = time.monotonic()
    running = process.start(peer.command_for(file), peer.log, {cpu})
    try:
        process.wait_until_served(peer.http, running, peer.log, seconds=60, path="/")
        seconds = time.monotonic() - started
        # Portico looks at the files once more when it serves.
        time.sleep(3)
        return seconds, process.pss_bytes(running.pid)
    finally:
        process.stop(running)

// TLS for a `RawClient`: a small process of Python makes the connection to portico and passes on
// what comes from a Unix socket, and to it. It ends with either side.

import Foundation

/// A connection by TLS whose bytes a test chooses.
final class TLSRelay {
  /// Speaks through the relay.
  let client: RawClient
  private let command: Command

  /// - Parameters:
  ///   - name: the server that is asked for.
  ///   - certificate: the client's own, as NAME.crt and NAME.key of the folder.
  ///   - alpn: the application protocol to offer.
  init(
    _ door: RunningPortico, port: Int = 0, name: String = "a.test", certificate: String? = nil,
    alpn: String = "http/1.1"
  ) throws {
    let folder = door.site.folder
    let path = folder + "relay-\(UUID().uuidString)"
    command = try Command(
      ["python3", "-c", Self.script, "\(door.port(port))", name, alpn, path]
        + (certificate.map { [folder + $0] } ?? []), folder: folder)
    var made: RawClient?
    try waitUntil("the relay") {
      made = try? RawClient(path: path)
      return made != nil
    }
    client = made!
  }

  private static let script = """
    import select, socket, ssl, sys
    port, name, alpn, path = sys.argv[1:5]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    for own in sys.argv[5:]:
        context.load_cert_chain(own + '.crt', own + '.key')
    raw = socket.create_connection(('127.0.0.1', int(port)))
    server = context.wrap_socket(raw, server_hostname=name)
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen(1)
    client = door.accept()[0]
    server.setblocking(False)
    while True:
        ready = select.select([client, server], [], [])[0]
        if client in ready:
            data = client.recv(65536)
            if not data:
                break
            server.sendall(data)
        if server in ready:
            try:
                data = server.recv(65536)
                while data:
                    client.sendall(data)
                    data = server.recv(65536)
                break
            except ssl.SSLWantReadError:
                pass
    """
}

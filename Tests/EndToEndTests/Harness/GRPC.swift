// A real gRPC server and a real client: python3-grpcio of Debian, with bytes for messages, so that no
// protocol compiler is needed.

import Foundation

/// The server "t.T": echoes and counts; and, if asked to, grpc.health.v1.
final class GRPCServer {
  let port: Int
  private let command: Command

  /// - Parameter name: a certificate in `folder` that it shows, or nil for plain HTTP/2.
  init(folder: String, certificate name: String? = nil) throws {
    let path = folder + "grpc_server.py"
    try Self.script.write(toFile: path, atomically: true, encoding: .utf8)
    let portPath = folder + "grpc-\(UUID().uuidString).port"
    command = try Command(
      ["/usr/bin/python3", path, portPath, name.map { folder + $0 } ?? "-"], folder: folder)
    try waitUntil("the gRPC server", within: 2 * patience) { FileManager.default.fileExists(atPath: portPath) }
    port = try Int(String(contentsOfFile: portPath, encoding: .utf8)) ?? 0
  }

  var address: String { "127.0.0.1:\(port)" }

  func stop() { command.kill() }

  private static let script = """
    import grpc, os, sys
    from concurrent import futures

    def unary(request, context):
        sent = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-count", str(len(request))), ("x-from", sent.get("x-name", "-"))))
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100%")
        return b"echo:" + request

    def server(request, context):
        for number in range(int(request)):
            yield b"m%d" % number

    def client(requests, context):
        return str(sum(len(each) for each in requests)).encode()

    def bidi(requests, context):
        for each in requests:
            yield b"re:" + each

    def health(request, context):
        if request == b"":
            return b"\\x08\\x01"
        if request == b"\\x0a\\x04well":
            return b"\\x08\\x01"
        if request == b"\\x0a\\x04sick":
            return b"\\x08\\x02"
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")

    same = lambda value: value
    handlers = [
        grpc.method_handlers_generic_handler("t.T", {
            "Unary": grpc.unary_unary_rpc_method_handler(unary, same, same),
            "Server": grpc.unary_stream_rpc_method_handler(server, same, same),
            "Client": grpc.stream_unary_rpc_method_handler(client, same, same),
            "Bidi": grpc.stream_stream_rpc_method_handler(bidi, same, same)}),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(health, same, same)})]
    it = grpc.server(futures.ThreadPoolExecutor(16))
    it.add_generic_rpc_handlers(tuple(handlers))
    if sys.argv[2] == "-":
        port = it.add_insecure_port("127.0.0.1:0")
    else:
        pair = (open(sys.argv[2] + ".key", "rb").read(), open(sys.argv[2] + ".crt", "rb").read())
        port = it.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    it.start()
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    it.wait_for_termination()
    """
}

/// A client that makes one call of each kind and prints what it saw.
enum GRPCClient {
  /// - Parameter certificate: what the server's certificate must be, for TLS.
  static func run(
    _ port: UInt16, folder: String, certificate: String? = nil, calls: String
  ) throws -> [String] {
    let path = folder + "grpc_client.py"
    try script.write(toFile: path, atomically: true, encoding: .utf8)
    let words = ["/usr/bin/python3", path, "\(port)", certificate.map { folder + $0 + ".crt" } ?? "-", calls]
    let result = try Command.run(words, folder: folder, within: 3 * patience)
    return (result.standardOutput + result.standardError).split(separator: "\n").map(String.init)
  }

  private static let script = """
    import grpc, sys, threading

    target = "127.0.0.1:" + sys.argv[1]
    options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.enable_retries", 0)]
    if sys.argv[2] == "-":
        channel = grpc.insecure_channel(target, options)
    else:
        roots = grpc.ssl_channel_credentials(open(sys.argv[2], "rb").read())
        channel = grpc.secure_channel(target, roots, options)
    same = lambda value: value

    def unary(message):
        call = channel.unary_unary("/t.T/Unary", same, same)
        try:
            answer, state = call.with_call(message, timeout=60, metadata=(("x-name", "me"),))
            trailers = dict(state.trailing_metadata())
            print(answer.decode()[:40], state.code().name, trailers["x-count"], trailers["x-from"])
        except grpc.RpcError as error:
            print(error.code().name, error.details())

    def server(count):
        got = list(channel.unary_stream("/t.T/Server", same, same)(str(count).encode(), timeout=60))
        print(len(got), got[-1].decode())

    def client(count):
        print(channel.stream_unary("/t.T/Client", same, same)(
            (b"x" * 1000 for _ in range(count)), timeout=60).decode())

    def bidi(count):
        ready = threading.Semaphore(0)
        def ask():
            for number in range(count):
                yield b"%d" % number
                # The next one only when the answer to this one came: both ways are open.
                ready.acquire()
        last = None
        for last in channel.stream_stream("/t.T/Bidi", same, same)(ask(), timeout=60):
            ready.release()
        print(last.decode())

    def many(count):
        call = channel.unary_unary("/t.T/Unary", same, same)
        calls = [call.future(b"%d" % number, timeout=60) for number in range(count)]
        print(sum(each.result() == b"echo:%d" % number for number, each in enumerate(calls)))

    eval(sys.argv[3])
    """
}

// An application behind the front door, in Hummingbird: the paths of go-app without the database.
// Settings come from the environment; SIGTERM ends it once the requests in progress are answered.

import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging

@main
struct SwiftApp {
  static func main() async throws {
    let environment = Environment()
    let instance = environment.get("INSTANCE") ?? "swift"
    let (host, port) = address(environment)
    var logger = Logger(label: instance)
    logger.logLevel = .notice
    let application = Application(
      router: routes(instance: instance),
      server: HTTPServerBuilder { responder in EchoingChannel(responder: responder, path: "/ws") },
      configuration: .init(address: .hostname(host, port: port), serverName: nil),
      onServerRunning: { _ in print("\(instance): listening on \(host):\(port)") },
      logger: logger)
    try await application.runService(gracefulShutdownSignals: [.sigterm, .sigint])
  }
  /// The address to listen on: `ADDR` (`host:port` or `:port`), or `PORT` on all addresses.
  static func address(_ environment: Environment) -> (host: String, port: Int) {
    let text = environment.get("ADDR") ?? ":\(environment.get("PORT") ?? "9003")"
    let colon = text.lastIndex(of: ":") ?? text.startIndex
    let host = text[..<colon]
    let port = Int(text[colon...].drop { $0 == ":" }) ?? 9003
    return (host.isEmpty ? "0.0.0.0" : String(host), port)
  }
  /// What each path answers; `/ws` is served before the router sees it (see EchoingChannel).
  static func routes(instance: String) -> Router<BasicRequestContext> {
    let router = Router()
    router.get("/") { request, _ in greeting(request, instance: instance) }
    router.get("/ping") { _, _ in "\(instance)\n" }
    router.get("/healthz") { _, _ in "ok\n" }
    router.get("/slow") { request, _ in
      let wait = request.uri.queryParameters.get("ms", as: Int.self) ?? -1
      guard 0...60_000 ~= wait else {
        throw HTTPError(.badRequest, message: "?ms= must be between 0 and 60000")
      }
      try await Task.sleep(for: .milliseconds(wait))
      return "\(instance) waited \(wait) ms\n"
    }
    router.get("/visits") { _, _ -> Response in
      throw HTTPError(.serviceUnavailable, message: "no database")
    }
    router.get("/ws") { _, _ -> Response in
      throw HTTPError(.upgradeRequired, message: "this is a WebSocket")
    }
    return router
  }
  /// Tells what the front door told us about the client.
  static func greeting(_ request: Request, instance: String) -> String {
    var text = "Hello from \(instance).\n\(request.method) \(request.head.authority ?? "")\n"
    for name in ["X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"] {
      if let field = HTTPField.Name(name), let value = request.headers[field] {
        text += "\(name): \(value)\n"
      }
    }
    return text
  }
}

// Clients that keep a door busy while something happens to it.

import Foundation
import Synchronization

/// Clients that ask without a pause until they are told to stop; each failure is kept.
final class Load: Sendable {
  private let isOver = Atomic(false)
  private let outcome = Mutex<(count: Int, failures: [String])>((0, []))
  private let running = Atomic(0)

  init(_ door: RunningPortico, clients: Int, keepAlive: Bool) {
    let port = door.port()
    for _ in 0..<clients {
      running.add(1, ordering: .relaxed)
      let thread = Thread { [self] in
        var client: RawClient?
        while !isOver.load(ordering: .relaxed) {
          do {
            let current = try client ?? RawClient(port: port)
            let field = keepAlive ? "" : "Connection: close\r\n"
            try current.send("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n")
            let response = try current.response()
            if response.status != 200 { throw RawClient.Failure.malformed("\(response.status)") }
            // `keepalive_requests` is announced, and no failure.
            client = keepAlive && response["connection"] != "close" ? current : nil
            outcome.withLock { $0.count += 1 }
          } catch {
            client = nil
            outcome.withLock { $0.failures.append("\(error)") }
          }
        }
        running.subtract(1, ordering: .releasing)
      }
      thread.start()
    }
  }

  /// Stops; gives how many requests were answered and what went wrong.
  func stop() throws -> (count: Int, failures: [String]) {
    isOver.store(true, ordering: .relaxed)
    try waitUntil("the clients") { running.load(ordering: .acquiring) == 0 }
    return outcome.withLock { $0 }
  }
}

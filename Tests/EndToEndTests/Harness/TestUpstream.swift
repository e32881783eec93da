// An upstream server inside the test: a thread that accepts, one for each connection, and a
// function that says what is answered to each request, byte by byte if need be.
//
//   let app = try TestUpstream { request in .answer(body: "you asked for \(request.path)") }
//   let broken = try TestUpstream { _ in .steps([.bytes("HTTP/1.1 200 OK\r\nContent-L"), .reset]) }

import Foundation
import Synchronization
import TestSupport

/// A scripted upstream server on 127.0.0.1.
final class TestUpstream: Sendable {
  /// What is done in answer to a request, in order. The connection then takes the next request,
  /// unless it was closed.
  enum Step: Sendable {
    case bytes([UInt8])
    case pause(seconds: Double)
    case close
    case reset
    /// Says nothing until the other side closes.
    case silence

    static func bytes(_ text: String) -> Step { .bytes(Array(text.utf8)) }
  }

  /// What to answer.
  enum Answer: Sendable {
    case steps([Step])

    /// A whole response with a Content-Length.
    static func answer(
      _ status: String = "200 OK", fields: [String: String] = [:], body: String = ""
    ) -> Answer {
      let lines = fields.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\r\n" }.joined()
      return .steps([
        .bytes(
          "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(lines)\r\n\(body)")
      ])
    }
  }

  /// A request as it came.
  struct Request: Sendable {
    let method: String
    let path: String
    let version: String
    let head: String
    let body: [UInt8]
    /// Which connection of this server, from 0.
    let connection: Int
    /// Which request of the connection, from 0.
    let index: Int

    /// The first field of a name, whatever its case.
    subscript(name: String) -> String? {
      for line in head.components(separatedBy: "\r\n").dropFirst() {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.first?.lowercased() == name.lowercased() {
          return parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
        }
      }
      return nil
    }
  }

  /// Nobody else gets it while this lives, stopped or not.
  var port: UInt16 { held.number }
  private let held = HeldPort()
  private let listener: Int32
  private let script: @Sendable (Request) -> Answer
  private let seen = Mutex<[Request]>([])
  private let connections = Mutex<(count: Int, open: [RawClient])>((0, []))
  private let isStopped = Mutex(false)

  init(_ script: @escaping @Sendable (Request) -> Answer) throws {
    self.script = script
    listener = held.listen()
    // The thread that accepts is the one that closes: nothing else may get the descriptor's number
    // while it is still in use.
    let thread = Thread { [listener, weak self] in
      defer { close(listener) }
      while true {
        let descriptor = accept(listener, nil, nil)
        if descriptor < 0 {
          // It was stopped. Anything else passes, such as too many open files.
          if errno == EINVAL { return }
          usleep(5_000)
          continue
        }
        guard let self else {
          close(descriptor)
          return
        }
        self.serve(descriptor)
      }
    }
    thread.start()
  }

  deinit { stop() }

  /// All requests so far.
  var requests: [Request] { seen.withLock { $0 } }

  /// How many connections there were so far.
  var connectionCount: Int { connections.withLock { $0.count } }

  /// How many of them are open.
  var openConnectionCount: Int { connections.withLock { $0.open.count } }

  /// Stops listening and closes every connection: the instance is gone.
  func stop() {
    let isFirst = isStopped.withLock { isStopped in
      defer { isStopped = true }
      return !isStopped
    }
    if isFirst { shutdown(listener, Int32(SHUT_RDWR)) }
    closeConnections()
  }

  /// Closes every connection; new ones are taken.
  func closeConnections() {
    connections.withLock { state in
      for each in state.open { shutdown(each.descriptor, Int32(SHUT_RDWR)) }
    }
  }

  private func serve(_ descriptor: Int32) {
    let client = RawClient(descriptor: descriptor)
    let number = connections.withLock { state in
      state.count += 1
      state.open.append(client)
      return state.count - 1
    }
    let thread = Thread { [weak self] in
      var index = 0
      while let request = Self.receive(client, number, index) {
        guard let self else { break }
        self.seen.withLock { $0.append(request) }
        guard case .steps(let steps) = self.script(request) else { break }
        if !Self.perform(steps, client) { break }
        index += 1
      }
      self?.connections.withLock { $0.open.removeAll { $0 === client } }
    }
    thread.start()
  }

  /// Does what `steps` say; whether the connection goes on.
  static func perform(_ steps: [Step], _ client: RawClient) -> Bool {
    for step in steps {
      switch step {
      case .bytes(let bytes): if (try? client.send(bytes)) == nil { return false }
      case .pause(let seconds): usleep(UInt32(seconds * 1_000_000))
      case .close: return false
      case .reset:
        client.reset()
        return false
      case .silence:
        _ = try? client.readToEnd(within: 60)
        return false
      }
    }
    return true
  }

  private static func receive(_ client: RawClient, _ connection: Int, _ index: Int) -> Request? {
    guard let head = try? client.read(until: "\r\n\r\n", within: 60) else { return nil }
    let words = head.prefix { !$0.isNewline }.split(separator: " ")
    guard words.count == 3 else { return nil }
    var request = Request(
      method: String(words[0]), path: String(words[1]), version: String(words[2]), head: head,
      body: [], connection: connection, index: index)
    var body: [UInt8]? = []
    if let length = request["content-length"].flatMap({ Int($0) }) {
      body = try? client.read(count: length, within: 60)
    } else if request["transfer-encoding"] != nil {
      body = chunked(client)
    }
    guard let body else { return nil }
    request = Request(
      method: request.method, path: request.path, version: request.version, head: head,
      body: body, connection: connection, index: index)
    return request
  }

  private static func chunked(_ client: RawClient) -> [UInt8]? {
    var body: [UInt8] = []
    while let line = try? client.read(until: "\r\n", within: 60) {
      guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16) else { return nil }
      guard let piece = try? client.read(count: size + 2, within: 60) else { return nil }
      if size == 0 { return body }
      body += piece.dropLast(2)
    }
    return nil
  }
}

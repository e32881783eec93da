// An upstream server that speaks HTTP/2 frame by frame: what it answers to each request is a list
// of bytes and pauses, lawful or not.
//
//   let app = try H2TestUpstream { request in [.bytes(H2Frame.answer(request.stream, "hello"))] }

import Foundation
import Synchronization

/// A scripted HTTP/2 server on 127.0.0.1, by prior knowledge.
final class H2TestUpstream: Sendable {
  /// A request as far as it came when its turn came.
  struct Request: Sendable {
    /// Which connection of this server, from 0.
    let connection: Int
    /// Which request of the connection, from 0.
    let index: Int
    let stream: UInt32
    let body: [UInt8]
  }

  private let server = RawServer()
  private let seen = Mutex<[Request]>([])
  private let frames = Mutex<[H2Frame]>([])
  private let ended = Mutex<[Int]>([])
  private let settings: [(UInt16, UInt32)]
  private let answersEarly: Bool
  private let windowPiece: Int?
  private let script: @Sendable (Request) -> [TestUpstream.Step]

  /// With `answersEarly` a request has its turn when its fields are there, else when it is
  /// complete. With `windowPiece` it gives windows back for each so many bytes that it reads, as
  /// servers do whose applications read with small buffers.
  init(
    settings: [(UInt16, UInt32)] = [], answersEarly: Bool = false, windowPiece: Int? = nil,
    _ script: @escaping @Sendable (Request) -> [TestUpstream.Step]
  ) throws {
    self.settings = settings
    self.answersEarly = answersEarly
    self.windowPiece = windowPiece
    self.script = script
    let thread = Thread { [server, weak self] in
      var number = 0
      while true {
        // Now and then it looks whether it is wanted any more.
        let client = try? server.accept(within: 1)
        guard let self else { return }
        guard let client else { continue }
        self.serve(client, number)
        number += 1
      }
    }
    thread.start()
  }

  /// As configurations write it.
  var address: String { server.address }

  /// The requests that had their turn.
  var requests: [Request] { seen.withLock { $0 } }

  /// All frames that came, of all connections.
  var received: [H2Frame] { frames.withLock { $0 } }

  /// The connections that the other side closed.
  var endedConnections: [Int] { ended.withLock { $0 } }

  private func serve(_ client: RawClient, _ number: Int) {
    let thread = Thread { [weak self] in
      guard (try? client.read(count: 24, within: 60)) != nil else { return }
      guard let settings = self?.settings, (try? client.send(H2Frame.settings(settings))) != nil
      else {
        return
      }
      var bodies: [UInt32: [UInt8]] = [:]
      var index = 0
      while let frame = Self.receive(client) {
        guard let self else { return }
        self.frames.withLock { $0.append(frame) }
        if !Self.acknowledge(frame, client) { return }
        guard
          frame.kind == H2Frame.Kind.headers.rawValue || frame.kind == H2Frame.Kind.data.rawValue
        else { continue }
        if frame.kind == H2Frame.Kind.data.rawValue {
          bodies[frame.stream, default: []] += frame.payload
          if !self.giveBack(frame, client) { return }
        }
        let hasTurn =
          self.answersEarly ? frame.kind == H2Frame.Kind.headers.rawValue : frame.endsStream
        if !hasTurn { continue }
        let request = Request(
          connection: number, index: index, stream: frame.stream, body: bodies[frame.stream] ?? [])
        index += 1
        self.seen.withLock { $0.append(request) }
        if !TestUpstream.perform(self.script(request), client) { return }
      }
      self?.ended.withLock { $0.append(number) }
    }
    thread.start()
  }

  private static func receive(_ client: RawClient) -> H2Frame? {
    guard let head = try? client.read(count: 9, within: 60) else { return nil }
    var frame = H2Frame(head: head)
    let length = H2Frame.length(head: head)
    guard length > 0 else { return frame }
    guard let payload = try? client.read(count: length, within: 60) else { return nil }
    frame.payload = payload
    return frame
  }

  private func giveBack(_ frame: H2Frame, _ client: RawClient) -> Bool {
    guard let windowPiece else { return true }
    var updates: [UInt8] = []
    for start in stride(from: 0, to: frame.payload.count, by: windowPiece) {
      let count = H2Frame.number(UInt32(min(windowPiece, frame.payload.count - start)))
      updates += H2Frame(.windowUpdate, stream: frame.stream, count).bytes
      updates += H2Frame(.windowUpdate, count).bytes
    }
    return (try? client.send(updates)) != nil
  }

  private static func acknowledge(_ frame: H2Frame, _ client: RawClient) -> Bool {
    guard frame.kind == H2Frame.Kind.settings.rawValue, frame.flags == 0 else { return true }
    return (try? client.send(H2Frame(.settings, flags: 1).bytes)) != nil
  }
}

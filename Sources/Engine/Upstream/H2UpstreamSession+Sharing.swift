// How the bodies of requests share what a server is ready to take of a connection. Many servers
// (Go's net/http, Node.js, Jetty) give the connection's window back only as bodies are read: one
// that nobody reads would stop all others.
//
//  - A request with a body goes on another connection where little of the window is left.
//  - While others have bodies under way, a stream leaves a part of its own window unused. So much
//    was taken of it by then that any server would have given some back: they do so when half of a
//    window was read, at the latest.

import CNGHTTP2

/// What a session knows of the bodies that share its connection.
struct H2UpstreamSharing {
  /// The most that the connection's window has been.
  var largestWindow = 65_535
  /// Streams whose bodies are not complete.
  var senderCount = 0
  /// Streams that wait for windows, or for being alone.
  fileprivate(set) var heldBack: [H2UpstreamStream] = []
  /// Something changed that those may go on by.
  fileprivate var hasChanged = false

  /// Whether those that were held back are to be asked again.
  var letsGo: Bool { hasChanged && !heldBack.isEmpty }
}

extension H2UpstreamSession {
  /// Whether a quarter of the connection's window is free, and nobody stands still who has had the
  /// share of a stream.
  var takesBody: Bool {
    sharing.heldBack.isEmpty && connectionWindow * 4 >= sharing.largestWindow
  }

  private var connectionWindow: Int {
    Int(unsafe nghttp2_session_get_remote_window_size(session))
  }

  private func window(of stream: H2UpstreamStream) -> Int {
    Int(unsafe nghttp2_session_get_stream_remote_window_size(session, stream.id))
  }

  // Bound: what a stream leaves of its window. Servers with windows without an end (nginx) announce
  // more when far less is left of them.
  private static let mostReserved = 4 << 20

  /// How much of a body may be sent before others have their turn: all, unless they have bodies,
  /// too; then five eighths of what the server is ready to take of the stream, or all but 4 MiB.
  func share(of stream: H2UpstreamStream) -> Int {
    let window = window(of: stream)
    stream.largestWindow = max(stream.largestWindow, window)
    guard sharing.senderCount > 1 else { return .max }
    return max(0, window - min(stream.largestWindow * 3 / 8, Self.mostReserved))
  }

  /// The library was given nothing of `stream`, for the sake of others.
  func holdBack(_ stream: H2UpstreamStream) {
    if stream.isHeldBack { return }
    stream.isHeldBack = true
    sharing.heldBack.append(stream)
  }

  /// Forgets that `stream` was held back.
  func letGo(_ stream: H2UpstreamStream) {
    guard stream.isHeldBack else { return }
    stream.isHeldBack = false
    sharing.heldBack.removeAll { $0 === stream }
  }

  /// Lets the library ask again for what was held back.
  func letAllGo() {
    sharing.hasChanged = false
    for stream in sharing.heldBack {
      stream.isHeldBack = false
      _ = unsafe nghttp2_session_resume_data(session, stream.id)
    }
    sharing.heldBack.removeAll(keepingCapacity: true)
  }

  /// The server is ready to take more, of a stream or (nil) of all together.
  func noteWindow(_ stream: H2UpstreamStream?) {
    sharing.hasChanged = true
    sharing.largestWindow = max(sharing.largestWindow, connectionWindow)
    if let stream { stream.largestWindow = max(stream.largestWindow, window(of: stream)) }
  }

  /// The windows of all streams may have changed, either way. What was sent of their bodies isn't
  /// known to be taken, so that each may be larger than it looks: it leaves less to others then.
  func noteWindows() {
    sharing.hasChanged = true
    for stream in streams { stream.largestWindow = 0 }
  }

  /// Nothing of a request is left to be sent.
  func endSending(_ stream: H2UpstreamStream) {
    if stream.didSendEnd { return }
    stream.didSendEnd = true
    sharing.senderCount -= 1
    sharing.hasChanged = true
  }
}

// Events of HTTP/2 connections to upstreams, on their way to the exchanges whose streams they are.
//
//   Worker.dispatch ─► onStreamsReady ─► H2UpstreamConnection.onEvent  (frames in)
//                            └─► Exchange.onStreamTouched, for each stream that was touched
//   Worker.resume ───► onStreamsResumed ─► flush                       (frames of all streams out)

import HTTP

extension WorkerCore {
  /// The connections of a group by HTTP/2.
  func streamedConnections(_ group: UpstreamGroup) -> H2UpstreamList {
    if let list = group.streamed { return list }
    let list = h2Upstreams.list(of: group.settings)
    group.streamed = list
    return list
  }

  /// The socket of a connection is ready.
  func onStreamsReady(_ handle: Handle, _ readiness: Readiness) {
    guard let connection = h2Upstreams.connection(handle) else { return }
    connection.onEvent(readiness)
    tellExchanges(connection, handle)
  }

  /// Everybody had a turn: what the streams of a connection queued leaves.
  func onStreamsResumed(_ handle: Handle) {
    guard let connection = h2Upstreams.connection(handle) else { return }
    connection.onResume()
    tellExchanges(connection, handle)
  }

  /// Nobody used a connection for as long as it may wait.
  func onStreamsIdle(_ handle: Handle) {
    guard let connection = h2Upstreams.connection(handle), connection.isIdle else { return }
    h2Upstreams.close(connection)
  }

  private func tellExchanges(_ connection: H2UpstreamConnection, _ handle: Handle) {
    while let stream = connection.session?.nextTouched() {
      exchanges.object(stream.exchange)?.onStreamTouched(stream)
      // The last stream may have taken the connection with it.
      guard connection.handle == handle else { return }
    }
    _ = h2Upstreams.reap(connection, isDraining: isDraining)
  }
}

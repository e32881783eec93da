// What the HTTP/2 connections of one worker share: libnghttp2's callback table and options, and the
// streams, recycled.

import CNGHTTP2

/// The HTTP/2 side of a worker.
@safe
final class H2Library {
  let callbacks: OpaquePointer
  let options: OpaquePointer
  var streams = Slab<H2Stream>(kind: .stream)

  /// - Precondition: there is memory for two small tables.
  init() {
    var callbacks: OpaquePointer?
    var options: OpaquePointer?
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0,
      unsafe nghttp2_option_new(&options) == 0,
      let callbacks = unsafe callbacks, let options = unsafe options
    else { preconditionFailure("memory is exhausted") }
    unsafe self.callbacks = callbacks
    unsafe self.options = options
    unsafe H2Callbacks.install(callbacks)
    // Windows open as bodies are read: that is what holds a client back.
    unsafe nghttp2_option_set_no_auto_window_update(options, 1)
    unsafe nghttp2_option_set_no_closed_streams(options, 1)
    // Bound: the fields of a response, which `proxy_buffer_size` bounds before.
    unsafe nghttp2_option_set_max_send_header_block_length(options, 1 << 20)
    // Bound: answers to PING and SETTINGS that wait for a client that doesn't read.
    unsafe nghttp2_option_set_max_outbound_ack(options, 256)
    // `H2FloodGuard` counts resets, with the code that clients should see.
    unsafe nghttp2_option_set_stream_reset_rate_limit(options, 1 << 20, 1 << 20)
  }

  deinit {
    unsafe nghttp2_session_callbacks_del(callbacks)
    unsafe nghttp2_option_del(options)
  }

  /// A session for `connection` with blocks of `memory`; both must outlive it. Nil if memory is
  /// exhausted.
  func makeSession(for connection: H2Connection, _ memory: H2SessionMemory) -> OpaquePointer? {
    var session: OpaquePointer?
    let owner = unsafe Unmanaged.passUnretained(connection).toOpaque()
    let result = unsafe memory.withAllocator { allocator in
      unsafe nghttp2_session_server_new3(&session, callbacks, owner, options, &allocator)
    }
    guard result == 0 else { return nil }
    return unsafe session
  }
}

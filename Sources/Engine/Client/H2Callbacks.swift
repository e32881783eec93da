// libnghttp2 calls back with C functions; each finds its connection and calls the method of its
// name. None of them runs an exchange: that could lead back into the library, which forbids it.

import CNGHTTP2
import HTTP

/// The C functions behind `H2Connection`.
enum H2Callbacks {
  static func install(_ table: OpaquePointer) {
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, owner in
      unsafe connection(owner) { unsafe $0.onBeginHeaders(frame!.pointee) }
    }
    unsafe nghttp2_session_callbacks_set_on_header_callback(table) {
      _, frame, name, nameCount, value, valueCount, _, owner in
      let name = unsafe Bytes(base: name!, count: nameCount)
      let value = unsafe Bytes(base: value!, count: valueCount)
      return unsafe connection(owner) {
        unsafe $0.onHeader(frame!.pointee.hd.stream_id, name, value)
      }
    }
    // A field that HTTP/2 forbids makes the request malformed (RFC 9113 §8.2.1): the stream is
    // reset.
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(table) {
      _, _, _, _, _, _, _, _ in NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, owner in
      unsafe connection(owner) { unsafe $0.onFrame(frame!.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) {
      _, _, id, bytes, count, owner in
      unsafe connection(owner) { unsafe $0.onData(id, Bytes(base: bytes!, count: count)) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, id, _, owner in
      unsafe connection(owner) { $0.onStreamClose(id) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_before_frame_send_callback(table) { _, frame, owner in
      unsafe connection(owner) { unsafe $0.beforeFrame(frame!.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, owner in
      unsafe connection(owner) { unsafe $0.onFrameSent(frame!.pointee.hd) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_data_source_read_length_callback(table) {
      _, _, _, _, _, limit, owner in unsafe connection(owner) { $0.dataLimit(Int(limit)) }
    }
    unsafe nghttp2_session_callbacks_set_send_data_callback(table) {
      _, frame, header, length, source, owner in
      let header = unsafe Bytes(base: header!, count: H2Callbacks.frameHeaderByteCount)
      return unsafe connection(owner) {
        unsafe $0.onSendData(stream(source!.pointee.ptr), header, length)
      }
    }
  }

  /// RFC 9113 §4.1.
  static let frameHeaderByteCount = 9

  /// What a stream with a body gives libnghttp2 to read from.
  static func body(of source: H2Stream) -> nghttp2_data_provider {
    var provider = unsafe nghttp2_data_provider()
    unsafe provider.source.ptr = unsafe Unmanaged.passUnretained(source).toOpaque()
    unsafe provider.read_callback = { _, _, _, limit, flags, source, _ in
      unsafe stream(source!.pointee.ptr).onBodyWanted(limit, &flags!.pointee)
    }
    return unsafe provider
  }
}

/// Calls a connection back, without counting a reference.
@inline(__always)
private func connection<Result>(
  _ owner: UnsafeMutableRawPointer?, _ body: (H2Connection) -> Result
) -> Result {
  // Safety: a connection outlives its session, in whose calls the library calls back.
  unsafe Unmanaged<H2Connection>.fromOpaque(owner!)._withUnsafeGuaranteedRef(body)
}

// Safety: a stream's object is never freed while its worker lives.
private func stream(_ source: UnsafeMutableRawPointer?) -> H2Stream {
  unsafe Unmanaged<H2Stream>.fromOpaque(source!).takeUnretainedValue()
}

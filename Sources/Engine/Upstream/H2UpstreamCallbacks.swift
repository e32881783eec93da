// What libnghttp2 calls while it reads and writes frames of a connection to an upstream: C
// functions that find the session and the stream by the pointers they were given with.
//
// Nothing here frees a stream or a session, or calls anybody: callbacks note what happened and
// touch the stream. Streams that were detached have no pointer any more, and are ignored.

import CNGHTTP2
import HTTP

/// The callbacks of `H2UpstreamSession`.
enum H2UpstreamCallbacks {
  /// What the body of a request is read by.
  @unsafe
  static var bodyProvider: nghttp2_data_provider {
    unsafe nghttp2_data_provider(source: nghttp2_data_source(), read_callback: readBody)
  }

  /// A client session whose events go to `owner`, or nil when memory is exhausted.
  @unsafe
  static func makeSession(for owner: H2UpstreamSession) -> OpaquePointer? {
    var callbacks: OpaquePointer?
    var options: OpaquePointer?
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    defer { unsafe nghttp2_session_callbacks_del(callbacks) }
    guard unsafe nghttp2_option_new(&options) == 0 else { return nil }
    defer { unsafe nghttp2_option_del(options) }
    unsafe set(callbacks)
    unsafe nghttp2_option_set_no_auto_window_update(options, 1)
    unsafe nghttp2_option_set_no_closed_streams(options, 1)
    // RFC 9113 §8.2.1 would have a value with blanks around it malformed; gRPC servers send status
    // messages like that, and gRPC lets whoever passes them on take the blanks off.
    unsafe nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options, 1)
    // Bound: answers to PING and SETTINGS that wait for a server that doesn't read.
    unsafe nghttp2_option_set_max_outbound_ack(options, 200)
    unsafe nghttp2_option_set_max_send_header_block_length(options, 1 << 20)
    var session: OpaquePointer?
    let pointer = unsafe Unmanaged.passUnretained(owner).toOpaque()
    guard unsafe nghttp2_session_client_new2(&session, callbacks, pointer, options) == 0 else {
      return nil
    }
    return unsafe session
  }

  private static func set(_ callbacks: OpaquePointer?) {
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, onInvalidHeader)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, onInvalidFrame)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose)
    unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, onBeginFrame)
  }
}

private typealias Pointer = UnsafeMutableRawPointer

private func owner(_ pointer: Pointer?) -> H2UpstreamSession? {
  guard let pointer = unsafe pointer else { return nil }
  return unsafe Unmanaged<H2UpstreamSession>.fromOpaque(pointer).takeUnretainedValue()
}

private func stream(_ session: OpaquePointer?, _ id: Int32) -> H2UpstreamStream? {
  guard let pointer = unsafe nghttp2_session_get_stream_user_data(session, id) else { return nil }
  return unsafe Unmanaged<H2UpstreamStream>.fromOpaque(pointer).takeUnretainedValue()
}

private let goesOn: Int32 = 0
/// Resets the stream and keeps the connection.
private let resetsStream = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
private let endsSession = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue

/// Counts frames before they are looked at.
private func onBeginFrame(
  session: OpaquePointer?, head: UnsafePointer<nghttp2_frame_hd>?, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let head = unsafe head else { return endsSession }
  let type = unsafe UInt32(head.pointee.type)
  let length = unsafe head.pointee.length
  let isUseful =
    type == NGHTTP2_HEADERS.rawValue || (type == NGHTTP2_DATA.rawValue && length > 0)
  owner.budget.noteFrame(length)
  if isUseful { owner.budget.earn() } else { owner.budget.spend() }
  return owner.budget.isPurseEmpty ? endsSession : goesOn
}

private func onBeginHeaders(
  session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let frame = unsafe frame else { return endsSession }
  guard let stream = unsafe stream(session, frame.pointee.hd.stream_id) else { return goesOn }
  stream.beginFields(owner.pool)
  return goesOn
}

private func onHeader(
  session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?,
  nameCount: Int, value: UnsafePointer<UInt8>?, valueCount: Int, flags: UInt8, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let frame = unsafe frame, let name = unsafe name,
    let value = unsafe value
  else { return endsSession }
  guard let stream = unsafe stream(session, frame.pointee.hd.stream_id) else { return goesOn }
  let key = unsafe Bytes(base: name, count: nameCount)
  let content = unsafe Bytes(base: value, count: valueCount).trimmed
  if nameCount > 0 && key[0] == UInt8(ascii: ":") {
    // The library let it pass: `:status`, once, three digits, in a head.
    guard stream.section == .head, let status = content.decimal, status >= 100 else {
      stream.fail(.malformed)
      return resetsStream
    }
    stream.head.statusCode = status
    return goesOn
  }
  if stream.add(key, content, owner.pool) { return goesOn }
  stream.fail(.tooBig)
  owner.touch(stream)
  return resetsStream
}

/// A name or a value with bytes that none may have (RFC 9113 §8.2.1): not repaired, refused.
private func onInvalidHeader(
  session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?,
  nameCount: Int, value: UnsafePointer<UInt8>?, valueCount: Int, flags: UInt8, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let frame = unsafe frame else { return endsSession }
  if let stream = unsafe stream(session, frame.pointee.hd.stream_id) {
    stream.fail(.malformed)
    owner.touch(stream)
  }
  return resetsStream
}

private func onInvalidFrame(
  session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, code: Int32, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let frame = unsafe frame else { return endsSession }
  if let stream = unsafe stream(session, frame.pointee.hd.stream_id) {
    stream.fail(.malformed)
    owner.touch(stream)
  }
  return goesOn
}

private func onFrame(
  session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let frame = unsafe frame else { return endsSession }
  let head = unsafe frame.pointee.hd
  switch UInt32(head.type) {
  case NGHTTP2_HEADERS.rawValue:
    guard let stream = unsafe stream(session, head.stream_id) else { return goesOn }
    if stream.section == .head { completeHead(stream) }
    if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { end(stream) }
    owner.touch(stream)
  case NGHTTP2_DATA.rawValue:
    guard let stream = unsafe stream(session, head.stream_id) else { return goesOn }
    if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { end(stream) }
    owner.touch(stream)
  case NGHTTP2_RST_STREAM.rawValue:
    unsafe stream(session, head.stream_id)?.serverHasEnded = true
  case NGHTTP2_SETTINGS.rawValue:
    owner.hasSettings = true
    owner.noteWindows()
  case NGHTTP2_WINDOW_UPDATE.rawValue:
    unsafe owner.budget.noteGivenBack(Int(frame.pointee.window_update.window_size_increment))
    owner.noteWindow(unsafe stream(session, head.stream_id))
  case NGHTTP2_GOAWAY.rawValue:
    let goAway = unsafe frame.pointee.goaway
    unsafe owner.noteGoAway(after: goAway.last_stream_id, goAway.error_code)
  default: break
  }
  return goesOn
}

private func completeHead(_ stream: H2UpstreamStream) {
  if stream.head.statusCode < 200 {
    stream.keepInterim()
  } else {
    stream.hasHead = true
  }
}

private func end(_ stream: H2UpstreamStream) {
  stream.serverHasEnded = true
  if stream.hasHead && stream.failure == nil {
    stream.hasEnded = true
  } else {
    stream.fail(.malformed)
  }
}

private func onData(
  session: OpaquePointer?, flags: UInt8, id: Int32, data: UnsafePointer<UInt8>?, count: Int,
  user: Pointer?
) -> Int32 {
  guard let owner = unsafe owner(user), let data = unsafe data else { return endsSession }
  _ = unsafe nghttp2_session_consume_connection(session, count)
  guard let stream = unsafe stream(session, id) else { return goesOn }
  unsafe stream.receive(Bytes(base: data, count: count), owner.pool)
  owner.touch(stream)
  return goesOn
}

private func onClose(session: OpaquePointer?, id: Int32, code: UInt32, user: Pointer?) -> Int32 {
  guard let owner = unsafe owner(user), let stream = unsafe stream(session, id) else {
    return goesOn
  }
  owner.endSending(stream)
  let isRefused = code == NGHTTP2_REFUSED_STREAM.rawValue
  stream.fail(isRefused ? stream.keepsLimits ? .refused : .unprocessed : .reset(code))
  owner.touch(stream)
  return goesOn
}

/// Hands the library the next bytes of a request body.
private func readBody(
  session: OpaquePointer?, id: Int32, room: UnsafeMutablePointer<UInt8>?, count: Int,
  flags: UnsafeMutablePointer<UInt32>?, source: UnsafeMutablePointer<nghttp2_data_source>?,
  user: Pointer?
) -> Int {
  let deferred = Int(NGHTTP2_ERR_DEFERRED.rawValue)
  guard let owner = unsafe owner(user), let room = unsafe room, let flags = unsafe flags,
    let stream = unsafe stream(session, id)
  else { return deferred }
  var taken = 0
  if let output = stream.output {
    let share = owner.share(of: stream)
    if share == 0 && !output.isEmpty {
      owner.holdBack(stream)
      return deferred
    }
    taken = min(output.count, count, share)
    unsafe MutableBytes(base: room, count: count).copy(output.unread.prefix(taken), at: 0)
    output.consume(taken)
    stream.takenCount += taken
    owner.budget.noteSent(taken)
    // A server may answer each DATA frame by a PING that measures.
    owner.budget.earn()
    if output.isEmpty {
      owner.pool.giveBack(output)
      stream.output = nil
    }
  }
  if stream.output == nil && stream.outputHasEnded {
    unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    owner.endSending(stream)
  } else if taken == 0 {
    stream.isStarved = true
  }
  if stream.wantsRoom && stream.output == nil {
    stream.wantsRoom = false
    owner.touch(stream)
  }
  return taken == 0 && stream.isStarved ? deferred : taken
}

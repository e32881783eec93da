// What libnghttp2 says of frames, on their way in and out. These methods run inside the library:
// they note what happened on the stream and leave exchanges to `settle`.

import CNGHTTP2
import HTTP

extension H2Connection {
  private func stream(_ id: Int32) -> H2Stream? {
    guard id > 0, let found = unsafe nghttp2_session_get_stream_user_data(session, id) else {
      return nil
    }
    // Safety: streams are never freed while their worker lives, and `onStreamClose` ends the id.
    return unsafe Unmanaged<H2Stream>.fromOpaque(found).takeUnretainedValue()
  }

  /// The same for what is done often, without counting a reference.
  @inline(__always)
  private func withStream(_ id: Int32, _ body: (H2Stream) -> Void) {
    guard id > 0, let found = unsafe nghttp2_session_get_stream_user_data(session, id) else {
      return
    }
    // Safety: as above.
    unsafe Unmanaged<H2Stream>.fromOpaque(found)._withUnsafeGuaranteedRef(body)
  }

  /// A frame is about to be handed to the library.
  func admit(_ header: H2FrameHeader) {
    if !flood.noteFrame(header, now: loop.now) {
      terminate(NGHTTP2_ENHANCE_YOUR_CALM, "client sent too many frames that say nothing")
    }
    switch header.kind {
    case NGHTTP2_HEADERS, NGHTTP2_DATA:
      if header.streamID & 1 == 1, stream(header.streamID) == nil { judge(header) }
    case NGHTTP2_PRIORITY:
      // Priorities are those of RFC 9218, but what never was right still isn't (RFC 7540 §5.3.1,
      // §6.3).
      if header.streamID == 0 || header.streamID == header.first {
        terminate(NGHTTP2_PROTOCOL_ERROR, "client sent an impossible priority")
      }
    case NGHTTP2_RST_STREAM: closedStreams.noteResetByClient(header.streamID)
    case NGHTTP2_WINDOW_UPDATE:
      // The library passes over those of streams that are gone.
      guard let increment = header.first, header.streamID != 0, stream(header.streamID) == nil
      else { break }
      if increment == 0 {
        terminate(NGHTTP2_PROTOCOL_ERROR, "client sent a window update of zero")
      } else if !closedStreams.widenLate(header.streamID, increment) {
        resetAgain(header.streamID, NGHTTP2_FLOW_CONTROL_ERROR)
      }
    case NGHTTP2_PUSH_PROMISE:
      // §8.4: no need to see the rest of it.
      terminate(NGHTTP2_PROTOCOL_ERROR, "client sent a push promise")
    default: break
    }
  }

  /// Whether a client resets a stream that it has never begun.
  func isResetOfIdleStream(_ header: H2FrameHeader) -> Bool {
    header.kind == NGHTTP2_RST_STREAM && header.length == 4 && header.streamID & 1 == 1
      && header.streamID > closedStreams.last
  }

  /// A frame for a stream that isn't open: new, late, or a mistake.
  private func judge(_ header: H2FrameHeader) {
    switch closedStreams.judge(header.streamID) {
    case nil: break
    case .late:
      if !flood.noteLate(now: loop.now) {
        terminate(NGHTTP2_ENHANCE_YOUR_CALM, "client goes on with streams that were reset")
      }
      judgeLate(header)
    case .closed: terminate(NGHTTP2_STREAM_CLOSED, "client sent a frame for a closed stream")
    case .skipped:
      terminate(NGHTTP2_PROTOCOL_ERROR, "client sent a frame for a stream that it passed over")
    }
  }

  /// What comes late is ignored, and has to be well-formed all the same.
  private func judgeLate(_ header: H2FrameHeader) {
    // Behind the head there are trailers, which end the stream (RFC 9113 §8.1).
    let isHeaders = header.kind == NGHTTP2_HEADERS
    guard let count = header.dataCount, !isHeaders || header.endsStream else {
      return terminate(NGHTTP2_PROTOCOL_ERROR, "client sent an impossible frame")
    }
    let isSound = closedStreams.takeLate(
      header.streamID, isHeaders ? 0 : count, isLast: header.endsStream)
    // §8.1.1: a malformed request, though it was answered.
    if !isSound { resetAgain(header.streamID, NGHTTP2_PROTOCOL_ERROR) }
  }

  /// Tells the client that what it sent on a stream that we had reset was wrong besides.
  private func resetAgain(_ id: Int32, _ code: nghttp2_error_code) {
    unsafe nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    schedule()
  }

  /// A header block begins. Zero, or an error code of the library.
  func onBeginHeaders(_ frame: nghttp2_frame) -> Int32 {
    guard unsafe frame.hd.type == UInt8(NGHTTP2_HEADERS.rawValue),
      unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST
    else { return 0 }
    let stream = unsafe makeStream(frame.hd.stream_id)
    let owner = unsafe Unmanaged.passUnretained(stream).toOpaque()
    unsafe nghttp2_session_set_stream_user_data(session, frame.hd.stream_id, owner)
    // Streams whose client says nothing of priorities take turns. RFC 9218's default is one after
    // the other, where the last of many would wait for ever. A `priority` field wins.
    var shared = nghttp2_extpri(urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
    unsafe nghttp2_session_change_extpri_stream_priority(session, frame.hd.stream_id, &shared, 0)
    stream.beginHead()
    return 0
  }

  /// A field of a head (or of a request's trailers, which end here).
  func onHeader(_ id: Int32, _ name: Bytes, _ value: Bytes) -> Int32 {
    withStream(id) { $0.onHeader(name, value) }
    return 0
  }

  /// A frame is complete.
  func onFrame(_ frame: nghttp2_frame) {
    let endsStream = unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch unsafe nghttp2_frame_type(UInt32(frame.hd.type)) {
    case NGHTTP2_HEADERS:
      guard let stream = unsafe stream(frame.hd.stream_id) else { return }
      if unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST {
        flood.noteProgress()
        stream.onHeadComplete(endsRequest: endsStream)
      }
      if endsStream { stream.onRequestEnd() }
    case NGHTTP2_DATA:
      if endsStream { unsafe stream(frame.hd.stream_id)?.onRequestEnd() }
    default: break
    }
  }

  /// A piece of a request body.
  func onData(_ id: Int32, _ bytes: Bytes) {
    let stream = stream(id)
    stream?.noteArrival(bytes.count)
    if stream?.take(bytes) == true { return }
    if stream?.didEndResponse == true {
      // Nobody wants more of it.
      unsafe nghttp2_session_consume_connection(session, bytes.count)
    } else {
      // Nobody reads it: the windows stay as they were.
      unsafe nghttp2_session_consume(session, id, bytes.count)
    }
  }

  /// A stream is over, in whatever way.
  func onStreamClose(_ id: Int32) {
    guard let stream = stream(id) else { return }
    if stream.didEndResponse {
      flood.noteCompletion()
    } else if !stream.isAborted && !mayBeReset(stream) {
      terminate(NGHTTP2_ENHANCE_YOUR_CALM, "client broke off too many requests")
    }
    if stream.wasResetByUs {
      closedStreams.noteReset(id, owed: stream.owed, window: windowLeft(of: stream))
    } else {
      closedStreams.noteEnded(id)
    }
    unsafe nghttp2_session_set_stream_user_data(session, id, nil)
    stream.onClose()
  }

  private func mayBeReset(_ stream: H2Stream) -> Bool {
    let isAnswered = stream.sentBodyCount > 0 && !stream.wasResetByUs
    return flood.noteReset(since: stream.openedAt, isAnswered: isAnswered, now: loop.now)
  }

  /// A frame is about to be written. A request that the library finds malformed is answered before
  /// its stream is reset, so that whoever sent it sees why (§8.1.1).
  func beforeFrame(_ frame: nghttp2_frame) {
    guard unsafe nghttp2_frame_type(UInt32(frame.hd.type)) == NGHTTP2_RST_STREAM,
      unsafe frame.rst_stream.error_code == NGHTTP2_PROTOCOL_ERROR.rawValue,
      let stream = unsafe stream(frame.hd.stream_id), hasDefaultTable, stream.noteRefusal()
    else { return }
    H2ResponseHead.badRequest(stream.id).withBytes { client.output.copy($0, loop.pool, in: .small) }
  }

  /// Whether the client keeps a table of fields no smaller than HPACK's first: a smaller one would
  /// have to be mentioned in the next header block (RFC 7541 §4.2).
  private var hasDefaultTable: Bool {
    unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_HEADER_TABLE_SIZE) >= 4096
  }

  /// A frame was handed to us whole.
  func onFrameSent(_ header: nghttp2_frame_hd) {
    withStream(header.stream_id) { stream in
      switch nghttp2_frame_type(UInt32(header.type)) {
      case NGHTTP2_DATA, NGHTTP2_HEADERS: stream.onFrameSent(header)
      case NGHTTP2_RST_STREAM: stream.wasResetByUs = true
      default: break
      }
    }
  }

  /// A DATA frame's payload is to follow its header. Zero, or that the library is to write nothing
  /// else for now: frames of this kind it doesn't hand out one by one, and by itself it goes on as
  /// far as windows and files reach.
  func onSendData(_ stream: H2Stream, _ header: Bytes, _ count: Int) -> Int32 {
    flood.noteSent(count)
    let isPlain = client.transport.tls == nil
    client.output.copy(header, loop.pool, in: isPlain ? .small : .large)
    stream.moveBody(count, to: &client.output, maySlice: isPlain)
    sentBodyCount += count
    didPause = isOutputFull
    return didPause ? NGHTTP2_ERR_PAUSE.rawValue : 0
  }

  /// How many bytes of a body `stream` may send now, as far as its own window says.
  func windowLeft(of stream: H2Stream) -> Int32 {
    unsafe nghttp2_session_get_stream_remote_window_size(session, stream.id)
  }

  /// Whether the client lets all streams together send nothing.
  var isWindowShut: Bool { unsafe nghttp2_session_get_remote_window_size(session) <= 0 }

  // Bound: body bytes of all streams that a client may send before anybody reads them. As much as
  // its streams may hold, or some that nobody reads would keep the bodies of all others back.
  private static let windows = 4 << 20...8 << 20
  // Bound: streams at a time whose windows are wide though nobody may be reading.
  private static let mostWideStreams = 8

  /// A stream's window as it begins: `http2_body_preread_size`.
  var bodyWindow: UInt32 {
    let byteCount = client.address.defaultSite.settings.http2.bodyPrereadBytes
    return UInt32(min(max(byteCount, 0), Int(Int32.max)))
  }

  /// The window of all streams together.
  var windowByteCount: Int32 {
    let all = client.address.defaultSite.settings.http2.maxConcurrentStreams * Int(bodyWindow)
    let bounded = min(max(all, Self.windows.lowerBound), Self.windows.upperBound)
    return max(Int32(bounded), Int32(bodyWindow))
  }

  /// Whether one more stream may have a wide window that its upstream may leave full.
  var mayWiden: Bool { streams.count(where: \.isWindowWide) < Self.mostWideStreams }

  /// Opens the windows for `count` bytes that were read.
  func consume(_ stream: H2Stream, _ count: Int) {
    unsafe nghttp2_session_consume(session, stream.id, count)
    schedule()
  }
}

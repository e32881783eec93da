// One stream of an HTTP/2 connection to an upstream: what came and was not taken yet, what is to be
// sent and was not sent yet, how it ended. H2UpstreamSession fills and drains it from its
// callbacks; whoever asked (an attempt, a health check) looks at it when it was touched.
//
//   idle ─► submitted ─► head ─► (data) ─► (trailers) ─► ended
//              └──────────┴─────────┴──────────┴─► failed
//
// What came stays readable when the stream, or its connection, is gone.

import HTTP

/// One request and its response on an HTTP/2 connection.
final class H2UpstreamStream {
  /// Why no complete response came, or will come.
  enum Failure: BitwiseCopyable, Equatable {
    /// The server did not process the request: a GOAWAY excludes it, or REFUSED_STREAM of a server
    /// that had not said yet how many streams it takes (RFC 9113 §8.7). It may be sent again,
    /// whatever its method.
    case unprocessed
    /// REFUSED_STREAM though the limits of the server were kept to. It may be sent again as well.
    case refused
    /// RST_STREAM with this error code.
    case reset(UInt32)
    /// The response breaks RFC 9113 §8, or is not a response at all.
    case malformed
    /// More fields, or longer ones, than allowed.
    case tooBig
    /// The connection could not be made, or ended.
    case connection
  }

  /// An interim response; `bytes` belong to whoever takes it.
  struct InterimHead {
    var head: ResponseHead
    let bytes: Buffer
  }

  // Bound: interim responses before a final one; more is an attack or a broken server.
  static let interimLimit = 16

  /// Which fields are coming.
  enum Section { case head, trailers }

  /// Whose request it is.
  var exchange = Handle.none
  var connection: H2UpstreamConnection?
  var session: H2UpstreamSession?
  /// 0 until the request is submitted.
  var id: Int32 = 0
  /// Where the session keeps it.
  var index = -1
  /// Whether the server's limits were known when the request was submitted.
  var keepsLimits = false
  var isTouched = false

  // The response.
  var head = ResponseHead()
  /// Names and values of the head, then of the trailers; `head` is a table of it.
  private(set) var fieldBytes: Buffer?
  private(set) var trailers: [Field] = []
  var section = Section.head
  /// The most bytes that the names and values of a head, or of trailers, may have.
  var fieldByteLimit = 64 << 10
  /// The head is complete and is not an interim one.
  var hasHead = false
  /// How many interim responses came.
  private(set) var interimCount = 0
  private var interimByteCount = 0
  /// Those of them that nobody took.
  private var interim: [InterimHead] = []
  private var input: [Buffer] = []
  private var first = 0
  /// Body bytes that were taken, and whether the server may send more ahead for that.
  var readCount = 0
  var isWindowWide = false
  /// Body bytes that wait to be taken.
  private(set) var inputByteCount = 0
  /// The response is complete; what waits in `input` is the rest of it.
  var hasEnded = false
  /// The server sends nothing more, for whatever reason.
  var serverHasEnded = false
  private(set) var failure: Failure?

  // The request body.
  var output: Buffer?
  /// Nothing follows what stands in `output`.
  var outputHasEnded = false
  /// The end of the request was handed to the library.
  var didSendEnd = false
  /// The library asked for more and got nothing.
  var isStarved = false
  /// Bytes of the body that the server's window let through.
  var takenCount = 0
  /// The library asked for more, and others are to have what is left of the connection's window.
  var isHeldBack = false
  /// The most that the server was ready to take of this stream's body, as far as is known.
  var largestWindow = 0
  /// A write was refused; room is announced by a touch.
  var wantsRoom = false

  init() { input.reserveCapacity(4) }

  /// Whether there is anything to do for whoever reads.
  var isReadable: Bool { inputByteCount > 0 || hasEnded || failure != nil }

  /// Notes a failure; the first one counts, and none after a complete response.
  func fail(_ failure: Failure) {
    if self.failure == nil && !hasEnded { self.failure = failure }
  }

  // --- the response ------------------------------------------------------------------------------

  // Bound: field lines of a head or of trailers.
  static let fieldLimit = 1000

  /// Begins a head or trailers.
  func beginFields(_ pool: BufferPool) {
    if hasHead {
      section = .trailers
    } else {
      section = .head
      head.reset()
      fieldBytes?.reset()
    }
    if fieldBytes == nil { fieldBytes = pool.take(.small) }
  }

  /// Takes a field; false if it is one too many or too long.
  func add(_ name: Bytes, _ value: Bytes, _ pool: BufferPool) -> Bool {
    let count = section == .head ? head.fields.count : trailers.count
    guard count < Self.fieldLimit, let store = store(name.count + value.count, pool) else {
      return false
    }
    let start = store.count
    store.append(name)
    store.append(value)
    let field = Field(
      name: Slice(start, start + name.count), value: Slice(start + name.count, store.count),
      token: FieldName.lookup(name))
    if section == .trailers {
      trailers.append(field)
      return true
    }
    if field.token != .other {
      if head.present.contains(field.token) { head.repeated.insert(field.token) }
      head.present.insert(field.token)
    }
    head.fields.append(field)
    return true
  }

  /// The buffer of fields with room for `count` more bytes, or nil at the limit.
  private func store(_ count: Int, _ pool: BufferPool) -> Buffer? {
    guard let store = fieldBytes else { return nil }
    let total = store.count + count
    guard total <= fieldByteLimit * (section == .head ? 1 : 2) else { return nil }
    if store.room >= count { return store }
    let larger = pool.take(atLeast: total)
    larger.append(store.unread)
    pool.giveBack(store)
    fieldBytes = larger
    return larger
  }

  /// Puts the head, which is an interim one, aside.
  func keepInterim() {
    interimCount += 1
    guard let bytes = fieldBytes else { return }
    interimByteCount += bytes.count
    // As many bytes as one head may have: a few frames can stand for many, by HPACK's table.
    if interimByteCount > fieldByteLimit { interimCount = Self.interimLimit + 1 }
    guard interimCount <= Self.interimLimit else { return }
    var kept = ResponseHead()
    swap(&kept, &head)
    interim.append(InterimHead(head: kept, bytes: bytes))
    fieldBytes = nil
  }

  /// The interim responses that came since the last call, or nil.
  func takeInterim() -> [InterimHead]? {
    guard !interim.isEmpty else { return nil }
    defer { interim = [] }
    return interim
  }

  /// Takes bytes of the body.
  func receive(_ bytes: Bytes, _ pool: BufferPool) {
    var rest = bytes
    inputByteCount += bytes.count
    if let tail = input.last, tail.room > Self.tailroom {
      let count = min(tail.room - Self.tailroom, rest.count)
      tail.append(rest.prefix(count))
      rest = rest.dropping(count)
    }
    while !rest.isEmpty {
      let buffer = pool.take(Self.size(for: rest.count))
      // Room for chunk framing, should the client speak HTTP/1.
      buffer.reset(headroom: ChunkedEncoder.maxHeaderLength)
      let count = min(buffer.room - Self.tailroom, rest.count)
      buffer.append(rest.prefix(count))
      rest = rest.dropping(count)
      input.append(buffer)
    }
  }

  private static let tailroom = 8

  private static func size(for count: Int) -> BufferPool.Size {
    let needed = count + ChunkedEncoder.maxHeaderLength + tailroom
    if needed <= BufferPool.Size.small.byteCount { return .small }
    return needed <= BufferPool.Size.medium.byteCount ? .medium : .large
  }

  /// The next body bytes, at most `limit` of them; the caller owns the buffer.
  func takeInput(_ limit: Int, _ pool: BufferPool) -> Buffer? {
    guard first < input.count else { return nil }
    let buffer = input[first]
    if buffer.count > limit {
      let piece = pool.take(Self.size(for: limit))
      piece.reset(headroom: ChunkedEncoder.maxHeaderLength)
      let count = min(limit, piece.room - Self.tailroom)
      piece.append(buffer.unread.prefix(count))
      buffer.skip(count)
      inputByteCount -= count
      return piece
    }
    first += 1
    if first == input.count {
      input.removeAll(keepingCapacity: true)
      first = 0
    }
    inputByteCount -= buffer.count
    return buffer
  }

  // --- the request body --------------------------------------------------------------------------

  /// Copies as much as there is room for.
  func write(_ bytes: Bytes, _ pool: BufferPool) -> Int {
    if output == nil { output = pool.take(.medium) }
    guard let output else { return 0 }
    if output.start > 0 && output.room < bytes.count { output.compact() }
    let count = min(output.room, bytes.count)
    output.append(bytes.prefix(count))
    return count
  }

  // --- recycling ---------------------------------------------------------------------------------

  /// Forgets everything.
  func reset(_ pool: BufferPool) {
    for index in first..<input.count { pool.giveBack(input[index]) }
    input.removeAll(keepingCapacity: true)
    first = 0
    inputByteCount = 0
    (readCount, isWindowWide) = (0, false)
    if let fieldBytes { pool.giveBack(fieldBytes) }
    fieldBytes = nil
    if let output { pool.giveBack(output) }
    output = nil
    head.reset()
    trailers.removeAll(keepingCapacity: true)
    exchange = .none
    connection = nil
    session = nil
    id = 0
    index = -1
    section = .head
    hasHead = false
    (interimCount, interimByteCount) = (0, 0)
    for head in takeInterim() ?? [] { pool.giveBack(head.bytes) }
    (hasEnded, serverHasEnded) = (false, false)
    failure = nil
    outputHasEnded = false
    didSendEnd = false
    isStarved = false
    takenCount = 0
    isHeldBack = false
    largestWindow = 0
    wantsRoom = false
  }
}

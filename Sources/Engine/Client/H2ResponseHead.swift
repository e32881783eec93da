// An `OutgoingHead` as a header block of HTTP/2 (RFC 9113 §8.3.2): names in lower case, fields of a
// connection left out.

import CNGHTTP2
import HTTP

/// The head of one response, on its way into the library.
struct H2ResponseHead {
  private let exchange: Exchange
  private let status: Int

  init(_ exchange: Exchange, status: Int) {
    self.exchange = exchange
    self.status = status
  }

  /// Queues the HEADERS frame of the stream `id`, which ends it unless there is a `body`. Names and
  /// values are not copied: the frame has to be taken from the library before the exchange goes on.
  ///
  /// - Returns: zero, or an error code of the library.
  func submit(_ session: OpaquePointer, _ id: Int32, _ body: nghttp2_data_provider?) -> Int32 {
    unsafe submit(exchange.response, session, id, body)
  }

  private func submit(
    _ head: borrowing OutgoingHead, _ session: OpaquePointer, _ id: Int32,
    _ body: nghttp2_data_provider?
  ) -> Int32 {
    var size = 128
    for field in head.fields { size += field.name.count }
    let scratch = exchange.arena.allocate(size)
    return unsafe withUnsafeTemporaryAllocation(
      of: nghttp2_nv.self, capacity: head.fields.count + 8
    ) { room in
      var block = unsafe H2HeaderBlock(room, scratch)
      write(exchange.response, &block)
      let (fields, count) = (room.baseAddress, block.count)
      guard var body = unsafe body else {
        return unsafe nghttp2_submit_response(session, id, fields, count, nil)
      }
      return unsafe nghttp2_submit_response(session, id, fields, count, &body)
    }
  }

  private func write(_ head: borrowing OutgoingHead, _ block: inout H2HeaderBlock) {
    block.add(Bytes(":status"), block.decimal(status))
    let server = head.server ?? Bytes("portico")
    if !server.isEmpty { block.add(Bytes("server"), server) }
    block.add(Bytes("date"), head.date ?? exchange.core.clock.httpDate)
    if let type = head.contentType, !type.isEmpty { block.add(Bytes("content-type"), type) }
    if let length = head.contentLength, head.status != 204, !head.isUpgrade {
      block.add(Bytes("content-length"), block.decimal(length))
    }
    if let modified = head.lastModified, head.first(.lastModified) == nil {
      let date = block.reserve(29)
      HTTPDate.write(modified, into: date)
      block.add(Bytes("last-modified"), date.readOnly)
    }
    for field in head.fields where !Self.isOfConnection(field.token) {
      block.add(block.lowercased(field.name), field.value)
    }
    if head.acceptsRanges && head.status == 200 {
      block.add(Bytes("accept-ranges"), Bytes("bytes"))
    }
  }

  /// A frame that says 400 and ends its stream. Its block (RFC 7541 §6) uses the static table
  /// alone, and so may stand between those that libnghttp2 writes.
  static func badRequest(_ id: Int32) -> [UInt8] {
    let block: [UInt8] = [0x8C, 0x0F, 0x0D, 0x01, UInt8(ascii: "0")]
    let flags = NGHTTP2_FLAG_END_STREAM.rawValue | NGHTTP2_FLAG_END_HEADERS.rawValue
    let head = [0, 0, UInt8(block.count), UInt8(NGHTTP2_HEADERS.rawValue), UInt8(flags)]
    return head + (0..<4).map { UInt8(truncatingIfNeeded: id >> (24 - 8 * $0)) } + block
  }

  /// Fields that HTTP/2 forbids (RFC 9113 §8.2.2), and what a WebSocket over it has no use for.
  private static func isOfConnection(_ token: FieldName) -> Bool {
    switch token {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade,
      .secWebSocketAccept:
      true
    default: false
    }
  }

  /// Queues an interim response (RFC 9113 §8.1); false if the library can't.
  static func submitInterim(
    _ session: OpaquePointer, _ id: Int32, _ status: Int, _ fields: [OutgoingField],
    _ arena: inout Arena
  ) -> Bool {
    let digits = arena.decimal(status)
    // Bound: fields of one interim response.
    let count = min(fields.count, 64) + 1
    return unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { room in
      let flags = UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)
      unsafe room[0] = H2HeaderBlock.field(Bytes(":status"), digits, flags)
      for index in 1..<count {
        let field = fields[index - 1]
        unsafe room[index] = H2HeaderBlock.field(field.name, field.value, flags)
      }
      return unsafe nghttp2_submit_headers(
        session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, nil, room.baseAddress, count, nil) == 0
    }
  }

  /// Queues the fields behind the body; false if the library can't.
  static func submitTrailers(
    _ session: OpaquePointer, _ id: Int32, _ trailers: [OutgoingField]
  ) -> Bool {
    let count = trailers.count
    return unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { room in
      for index in 0..<count {
        unsafe room[index] = H2HeaderBlock.field(
          trailers[index].name, trailers[index].value, UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
      }
      return unsafe nghttp2_submit_trailer(session, id, room.baseAddress, count) == 0
    }
  }
}

/// Name-value pairs for the library, with scratch memory for what has to be written anew.
@safe
struct H2HeaderBlock {
  private let room: UnsafeMutableBufferPointer<nghttp2_nv>
  private let scratch: MutableBytes
  private var used = 0
  private(set) var count = 0

  init(_ room: UnsafeMutableBufferPointer<nghttp2_nv>, _ scratch: MutableBytes) {
    unsafe self.room = room
    self.scratch = scratch
  }

  mutating func add(_ name: Bytes, _ value: Bytes) {
    let flags = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue
    unsafe precondition(count < room.count)
    unsafe room.initializeElement(at: count, to: Self.field(name, value, UInt8(flags)))
    count += 1
  }

  static func field(_ name: Bytes, _ value: Bytes, _ flags: UInt8) -> nghttp2_nv {
    unsafe nghttp2_nv(
      name: UnsafeMutablePointer(mutating: name.unsafeBase),
      value: UnsafeMutablePointer(mutating: value.unsafeBase), namelen: name.count,
      valuelen: value.count, flags: flags)
  }

  mutating func reserve(_ size: Int) -> MutableBytes {
    let bytes = scratch.slice(used, used + size)
    used += size
    return bytes
  }

  mutating func decimal(_ value: Int) -> Bytes {
    let digits = reserve(20)
    let length = writeDecimal(value, into: digits)
    used -= 20 - length
    return digits.readOnly.prefix(length)
  }

  /// `name` in lower case (RFC 9113 §8.2.1).
  mutating func lowercased(_ name: Bytes) -> Bytes {
    let copy = reserve(name.count)
    copy.copyLowercased(name)
    return copy.readOnly
  }
}

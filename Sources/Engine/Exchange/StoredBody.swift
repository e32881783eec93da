// A body of known size that lies in a file, or in memory, and of which parts may be sent (RFC 9110
// §14).

import HTTP

/// Where a body lies.
struct StoredBody {
  let file: OpenFile
  /// Where in the file it begins.
  var offset: Int64 = 0
  let size: Int
  /// All of it, if it is in memory; lives as long as the exchange.
  let content: Bytes?
}

extension Exchange {
  /// Completes the head by the location's rules and sends it with the body, or with the parts of it
  /// that the client asked for.
  func send(_ body: StoredBody) {
    let settings = location.settings.core.value
    filterHead()
    if !isInner, let range = field(.range), response.acceptsRanges,
      response.status == 200
    {
      if applyRange(range, body, settings) { return }
    }
    sendHead()
    send(ByteRange(start: 0, end: body.size), of: body)
    completeResponse()
  }

  private func send(_ range: ByteRange, of body: StoredBody) {
    if let content = body.content {
      sendBody(content.slice(range.start, range.end))
    } else {
      sendBody(body.file, offset: body.offset + Int64(range.start), count: range.count)
    }
  }

  // --- ranges ------------------------------------------------------------------------------------

  /// Answers 206 or 416; false when the whole body is to be sent.
  private func applyRange(
    _ value: Bytes, _ body: StoredBody, _ settings: Borrowed<CoreSettings>
  ) -> Bool {
    if let condition = field(.ifRange), !ifRangeHolds(condition) { return false }
    var ranges: [ByteRange] = []
    switch ByteRanges.parse(value, size: body.size, maxRanges: settings.maxRanges, into: &ranges) {
    case .ignore: return false
    case .unsatisfiable:
      answerUnsatisfiable(body.size)
      return true
    case .ranges:
      if ranges.count == 1 {
        becomePartial(ranges[0], of: body.size)
        sendHead()
        send(ranges[0], of: body)
        completeResponse()
      } else {
        sendMultiple(ranges, body)
      }
      return true
    }
  }

  /// Answers 416 for a body of `size` bytes.
  func answerUnsatisfiable(_ size: Int) {
    let field = unsatisfiedRange(size)
    if errorPage(for: 416) != nil { return fail(416, with: field) }
    response.reset()
    response.add(field)
    response.status = 416
    sendPage(416)
  }

  /// Content-Range of a 416 (RFC 9110 §14.4).
  func unsatisfiedRange(_ size: Int) -> OutgoingField {
    OutgoingField(
      name: Bytes("Content-Range"), value: concatenate(Bytes("bytes */"), arena.decimal(size)),
      token: .contentRange)
  }

  /// Compared with what the client would see: the fields as header rules left them.
  func ifRangeHolds(_ condition: Bytes) -> Bool {
    if condition.hasSuffix(Bytes("\"")) { return condition == response.first(.etag) }
    guard let modified = response.lastModified else { return false }
    return HTTPDate.parse(condition) == modified
  }

  /// Lets the head speak of `range` of a body of `size` bytes.
  func becomePartial(_ range: ByteRange, of size: Int) {
    response.status = 206
    response.reason = nil
    // Trailers may follow, for which the body goes out in chunks.
    if response.contentLength != nil { response.contentLength = range.count }
    response.remove(.contentRange)
    let span = concatenate(arena.decimal(range.start), Bytes("-"), arena.decimal(range.end - 1))
    response.add(
      Bytes("Content-Range"),
      concatenate(concatenate(Bytes("bytes "), span), Bytes("/"), arena.decimal(size)),
      .contentRange)
  }

  private func sendMultiple(_ ranges: [ByteRange], _ body: StoredBody) {
    let parts = Multipart(
      mediaType: response.contentType ?? Bytes(), size: body.size, number: core.nextSerial())
    response.status = 206
    response.reason = nil
    response.remove(.contentRange)
    response.contentType = written(Multipart.contentTypeCapacity, parts.writeContentType)
    response.contentLength = parts.totalLength(of: ranges)
    sendHead()
    for range in ranges {
      sendBody(written(parts.partHeadCapacity) { parts.writePartHead(range, into: $0) })
      send(range, of: body)
    }
    sendBody(written(Multipart.endCapacity, parts.writeEnd))
    completeResponse()
  }

  /// What `write` puts into room of the arena.
  private func written(_ capacity: Int, _ write: (MutableBytes) -> Int) -> Bytes {
    let room = arena.allocate(capacity)
    return room.readOnly.prefix(write(room))
  }
}

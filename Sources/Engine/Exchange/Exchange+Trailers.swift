// The fields behind an upstream's response, chunked or by HTTP/2, and what an upstream's head
// orders for the response (https://nginx.org/r/proxy_pass_trailers,
// https://nginx.org/r/proxy_ignore_headers).

import Configuration
import HTTP

extension Exchange {
  /// Keeps what `piece`, the input that the decoder was given last, holds of the trailers.
  func keepTrailers(_ piece: Bytes) {
    let start = attempt.decoder.trailerStart
    guard start >= 0, start < piece.count, location.settings.proxy.value.passesTrailers
    else { return }
    // Bound: the decoder refuses longer trailers than a buffer of this size holds.
    let buffer = attempt.trailerInput ?? loop.pool.take(atLeast: ChunkedDecoder.maxTrailerBytes)
    attempt.trailerInput = buffer
    buffer.append(piece.dropping(start).prefix(min(piece.count - start, buffer.room)))
  }

  /// Makes fields of the trailers, which have come whole, and hands those to the response that may
  /// follow a body.
  func finishTrailers() {
    guard let buffer = attempt.trailerInput else { return }
    attempt.trailerInput = nil
    attempt.trailerBytes = arena.copy(buffer.unread)
    loop.pool.giveBack(buffer)
    var section = TrailerSection(attempt.trailerBytes)
    // Bound: as many fields as a head may have.
    while attempt.trailers.count < HeadLimits.response.maxFields, let field = section.next() {
      attempt.trailers.append(field)
    }
    passTrailers()
  }

  /// Keeps the fields behind a response by HTTP/2, and hands them on like those of a chunked one.
  func takeTrailers(of stream: H2UpstreamStream) {
    guard passesTrailers, !stream.trailers.isEmpty, let bytes = stream.fieldBytes else { return }
    attempt.trailerBytes = arena.copy(bytes.unread)
    attempt.trailers.append(contentsOf: stream.trailers)
    passTrailers()
  }

  /// Whether the fields behind the body are the client's business.
  var passesTrailers: Bool {
    let settings = location.settings.proxy.value
    return settings.isGRPC || settings.passesTrailers
  }

  /// Hands the trailers that may follow a body to the response.
  private func passTrailers() {
    let settings = location.settings.proxy.value
    let bytes = attempt.trailerBytes
    for field in attempt.trailers {
      let name = field.name.of(bytes)
      guard settings.isGRPC ? field.token.mayBeMetadata : field.token.mayTrail,
        !settings.hiddenTokens.contains(field.token),
        !isHidden(name, settings), !isFramingAlias(name)
      else { continue }
      response.trailers.append(
        OutgoingField(name: name, value: field.value.of(bytes), token: field.token))
    }
  }

  /// Whether an application can't tell `name` from a field that frames or routes.
  private func isFramingAlias(_ name: Bytes) -> Bool {
    FieldAlias.isSame(name, Bytes("Content-Length"))
      || FieldAlias.isSame(name, Bytes("Transfer-Encoding"))
      || FieldAlias.isSame(name, Bytes("Set-Cookie"))
  }

  /// Whether the response is read ahead of a slow client.
  var buffersResponse: Bool {
    location.settings.proxy.value.buffering && !attempt.isUnbuffered
  }

  /// Does what `X-Accel-Buffering` and `X-Accel-Limit-Rate` say, unless the location ignores them.
  func takeResponseOrders(_ settings: Borrowed<ProxySettings>) {
    let ignored = settings.ignoredFields
    if !ignored.contains(.xAccelBuffering), let order = upstreamField(.xAccelBuffering) {
      if order.equalsIgnoringCase(Bytes("no")) { attempt.isUnbuffered = true }
    }
    if !ignored.contains(.xAccelCharset) { charsetOrder = upstreamField(.xAccelCharset) }
    if !ignored.contains(.xAccelLimitRate), let order = upstreamField(.xAccelLimitRate) {
      if let rate = order.decimal { setLimitRate(rate) }
    }
  }
}

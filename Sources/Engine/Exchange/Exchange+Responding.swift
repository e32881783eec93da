// Sending a response: header filters, the head, the body, the end. Errors and redirects with their
// small pages. Everything that answers a request goes through `startResponse`.

import HTTP

extension Exchange {
  /// Completes the head by the location's rules and hands it to the stream. May be called once.
  func startResponse() {
    filterHead()
    sendHead()
  }

  /// The first half of `startResponse`: what header rules make of the head.
  func filterHead() {
    assert(!didSendHead)
    if errorStatus != 0 {
      // The page of an error, which the client seems to know: its length is that of no body here.
      if response.status == 304 { response.contentLength = 0 }
      response.status = errorStatus
      response.reason = nil
      if let field = errorField, response.first(field.token) == nil {
        response.add(field)
      }
    }
    for challenge in challenges {
      response.add(
        Bytes("WWW-Authenticate"), challenge, FieldName.lookup(Bytes("www-authenticate")))
    }
    sign()
    if isHead || response.status == 204 || response.status == 304 { response.hasBody = false }
    guard mayFilter else { return applyHeaders() }
    let unfiltered = unfilteredHead()
    applyHeaders()
    chooseFilters(unfiltered)
  }

  /// The second half: hands the head to the stream.
  func sendHead() {
    didSendHead = true
    stream.sendHead(self)
    startPacing()
    guard let page = preconditionPage else { return }
    sendBody(page)
    // What its source gives is dropped.
    response.hasBody = false
  }

  func sendBody(_ bytes: Bytes) {
    guard !bytes.isEmpty, response.hasBody else { return }
    if isFiltered { return filter(.bytes(bytes)) }
    bodyByteCount += bytes.count
    if isPaced { return pace(.bytes(bytes)) }
    stream.sendBody(bytes)
  }

  func sendBody(_ buffer: consuming Buffer) {
    guard !buffer.isEmpty, response.hasBody else { return loop.pool.giveBack(buffer) }
    if isFiltered { return filter(.buffer(buffer)) }
    handOver(buffer)
  }

  /// Hands body bytes on as the client gets them.
  func handOver(_ buffer: consuming Buffer) {
    if buffer.isEmpty { return loop.pool.giveBack(buffer) }
    bodyByteCount += buffer.count
    if isPaced { return pace(.buffer(buffer)) }
    stream.sendBody(buffer)
  }

  func sendBody(_ file: OpenFile, offset: Int64, count: Int) {
    guard count > 0, response.hasBody else { return }
    if isFiltered { return filter(.file(file, offset: offset, count: count)) }
    bodyByteCount += count
    if isPaced { return pace(.file(file, offset: offset, count: count)) }
    stream.sendBody(file, offset: offset, count: count)
  }

  /// Says that the response is complete; the stream finishes the exchange when it is sent.
  func completeResponse() {
    state = .sending
    if isFiltered { return endFiltered() }
    finishBody()
  }

  /// The last body byte was handed on.
  func finishBody() {
    if isPaced && holdsPacedBytes { return }
    endStream()
  }

  /// Tells the client that nothing follows what was handed on.
  func endStream() {
    if response.isBrokenOff { return stream.abort() }
    completeTrailers()
    stream.endBody()
  }

  /// The source of the body failed: what came of it goes out, then the client sees that it isn't
  /// all.
  func endEarly() {
    keepAlive = false
    state = .sending
    response.isBrokenOff = true
    if cache != nil { endCaching() }
    loop.pool.reclaim(&attempt.request)
    if attempt.spool == nil { completeResponse() } else { drainSpool() }
  }

  /// Breaks off: before the head by an error page, behind it by closing without a proper end.
  func breakOff(_ status: Int) {
    if didSendHead {
      keepAlive = false
      state = .sending
      if isFiltered { abandonBody() }
      stream.abort()
    } else {
      fail(status)
    }
  }

  // --- errors ------------------------------------------------------------------------------------

  /// Answers with an error: the location's `error_page`, or a small page of ours.
  ///
  /// - Parameter field: what tells of the error beside the status, and stays with an error page.
  func fail(_ status: Int, with field: OutgoingField? = nil) {
    cancelUpstream()
    errorField = field
    if didSendHead { return breakOff(status) }
    response.reset()
    for cookie in redirectCookies { response.add(cookie) }
    if closesConnection(status) { keepAlive = false }
    if status == 499 || status == 444 {
      response.status = status
      keepAlive = false
      return stream.abort()
    }
    if let page = errorPage(for: status) { return show(page, for: status) }
    sendErrorPage(status)
  }

  /// Errors after which nobody knows where the next request begins.
  private func closesConnection(_ status: Int) -> Bool {
    switch status {
    case 400, 413, 414, 494, 495, 496, 497, 500, 501, 505, 408: true
    default: false
    }
  }

  /// The `error_page` for `status`, unless an error page already failed.
  func errorPage(for status: Int) -> ErrorPage? {
    guard !isErrorPage else { return nil }
    let core = location.settings.core.value
    for page in core.errorPages where page.statuses.contains(status) { return page }
    return nil
  }

  /// Whether the location has an `error_page` for `status`, be it one that isn't shown because
  /// another one already failed: what an upstream says of its errors isn't, either.
  func namesErrorPage(for status: Int) -> Bool {
    location.settings.core.value.errorPages.contains { $0.statuses.contains(status) }
  }

  private func show(_ page: ErrorPage, for status: Int) {
    isErrorPage = !location.settings.core.value.recursiveErrorPages
    errorStatus = page.responseStatus ?? (Self.isBadRequest(status) ? 400 : status)
    let target = evaluate(page.target)
    if target.hasPrefix(Bytes("@")) {
      return redirectInternally(toNamed: target.dropping(1).string)
    }
    if target.hasPrefix(Bytes("/")) {
      if method != .head {
        method = .get
        methodName = Bytes("GET")
      }
      let (path, query) = splitQuery(target)
      return redirectInternally(to: path, arguments: query ?? Bytes())
    }
    // Another site's URL: the client goes there itself.
    let wanted = page.responseStatus ?? 302
    sendRedirect([301, 302, 303, 307, 308].contains(wanted) ? wanted : 302, to: target)
  }

  /// nginx's own codes, which clients see as 400.
  private static func isBadRequest(_ status: Int) -> Bool { status >= 494 && status <= 497 }

  private func sendErrorPage(_ status: Int) {
    // What failed last counts, not what an error page stood for.
    errorStatus = 0
    response.status = Self.isBadRequest(status) ? 400 : status
    if status == 401 || status == 416 { response.acceptsRanges = false }
    sendPage(status)
  }

  /// Answers with the head as it is so far, and with our page about `status`.
  func sendPage(_ status: Int) {
    let page = pageText(status)
    response.contentType = Bytes("text/html")
    response.contentLength = page.count
    startResponse()
    sendBody(page)
    completeResponse()
  }

  // --- redirects ---------------------------------------------------------------------------------

  /// Redirects to a path of this site.
  func redirect(_ status: Int, toPath path: Bytes) {
    var target = escape(path, .uri)
    if !arguments.isEmpty { target = concatenate(target, Bytes("?"), arguments) }
    redirect(status, to: absoluteURL(target))
  }

  /// Redirects to `target`, a URL or a path.
  func redirect(_ status: Int, to target: Bytes) {
    guard errorPage(for: status) == nil else {
      return fail(status, with: locationField(target))
    }
    sendRedirect(status, to: target)
  }

  private func locationField(_ target: Bytes) -> OutgoingField {
    OutgoingField(name: Bytes("Location"), value: lineSafe(target), token: .location)
  }

  private func sendRedirect(_ status: Int, to target: Bytes) {
    errorStatus = 0
    response.status = status
    response.add(locationField(target))
    sendPage(status)
  }

  /// `value` as it may stand in a field: control characters, which a decoded path may hold, are
  /// encoded. They would end the line, or have clients of HTTP/2 refuse the response (RFC 9110
  /// §5.5).
  func lineSafe(_ value: Bytes) -> Bytes {
    percentEncoded(value) { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }
  }

  /// `value` with the bytes that `isUnsafe` names as `%XX`; itself if there are none.
  @inline(__always)
  func percentEncoded(_ value: Bytes, where isUnsafe: (UInt8) -> Bool) -> Bytes {
    var count = 0
    for index in 0..<value.count where isUnsafe(value[index]) { count += 1 }
    if count == 0 { return value }
    let room = arena.allocate(value.count + 2 * count)
    var position = 0
    for index in 0..<value.count {
      let byte = value[index]
      guard isUnsafe(byte) else {
        room[position] = byte
        position += 1
        continue
      }
      room[position] = UInt8(ascii: "%")
      room[position + 1] = ASCII.hexDigit(byte >> 4)
      room[position + 2] = ASCII.hexDigit(byte & 15)
      position += 3
    }
    return room.readOnly
  }

  /// `path` with scheme, host and port in front, as `absolute_redirect`, `port_in_redirect` and
  /// `server_name_in_redirect` say.
  func absoluteURL(_ path: Bytes) -> Bytes {
    let core = location.settings.core.value
    guard core.absoluteRedirect, path.hasPrefix(Bytes("/")) else { return path }
    let isTLS = connection.tls != nil
    let name = core.serverNameInRedirect ? site.primaryName : hostWithoutPort
    let host = name.isEmpty ? arena.copy(connection.localAddress.host) : name
    let scheme = isTLS ? Bytes("https://") : Bytes("http://")
    let port = Int(connection.localAddress.port)
    if !core.portInRedirect || port == 0 || port == (isTLS ? 443 : 80) {
      return concatenate(scheme, host, path)
    }
    let authority = concatenate(host, Bytes(":"), arena.decimal(port))
    return concatenate(scheme, authority, path)
  }
}

/// The small pages that stand for errors and redirects.
enum ErrorPageText {
  /// A complete HTML page that names the status and nothing of the server's inside.
  ///
  /// - Parameter signature: what the page says of who made it, in HTML; may be empty.
  static func make(_ status: Int, signature: Bytes, _ arena: inout Arena) -> Bytes {
    let (number, words) = title(status, &arena)
    let pieces = [
      Bytes("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>"), number,
      words,
      Bytes(
        """
        </title>
        <style>body{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:32em;\
        text-align:center;color:#333}h1{font-weight:500}</style></head>
        <body><h1>
        """), number,
      words, Bytes("</h1><p>"), signature, Bytes("</p></body></html>\n"),
    ]
    var count = 0
    for piece in pieces { count += piece.count }
    let room = arena.allocate(count)
    count = 0
    for piece in pieces {
      room.copy(piece, at: count)
      count += piece.count
    }
    return room.readOnly
  }

  /// "404" and " Not Found".
  private static func title(_ status: Int, _ arena: inout Arena) -> (Bytes, Bytes) {
    let words: Bytes
    switch status {
    case 494: words = Bytes(" Request Header Or Cookie Too Large")
    case 495: words = Bytes(" The SSL certificate error")
    case 496: words = Bytes(" No required SSL certificate was sent")
    case 497: words = Bytes(" The plain HTTP request was sent to HTTPS port")
    default:
      let reason = StatusCode.reason(status)
      let room = arena.allocate(reason.count + 1)
      room[0] = UInt8(ascii: " ")
      room.copy(reason, at: 1)
      words = room.readOnly
    }
    return (arena.decimal(status >= 494 && status <= 497 ? 400 : status), words)
  }
}

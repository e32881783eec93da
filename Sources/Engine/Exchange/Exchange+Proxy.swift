// What an upstream is asked: choosing the group, reading the body first if it is to be buffered,
// writing the request head (https://nginx.org/en/docs/http/ngx_http_proxy_module.html).

import HTTP

extension Exchange {
  /// Answers by asking an upstream.
  func proxy(_ pass: ProxyPass) {
    switch pass.destination {
    case .upstream(let reference):
      guard let group = reference.group else { return fail(502) }
      attempt.group = group
      proxyHost = pass.host
      proxyPort = pass.port
      proxyURI = pass.uri
      proxyIsTLS = pass.isTLS
      prepareBody()
    case .variable(let template): proxy(toURL: evaluate(template))
    }
  }

  /// The destination was computed: an upstream's name, an address, or a name to resolve.
  private func proxy(toURL url: Bytes) {
    guard let target = ProxyTarget.parse(url, isGRPC: location.settings.proxy.value.isGRPC) else {
      log(.error, "invalid URL prefix in \"\(url.string)\"")
      return fail(500)
    }
    proxyHost = target.authority
    proxyPort = target.port
    proxyIsTLS = target.isTLS
    proxyURI = target.uri
    proxyURIIsComplete = target.uri != nil
    let name = target.authority.string
    if let group = core.group(named: target.hostOnly ? target.host.string : name) {
      attempt.group = group
      return prepareBody()
    }
    let host = target.host.string
    if let address = target.address {
      attempt.group = core.adHocGroup(name, [address])
      return prepareBody()
    }
    guard let settings = location.settings.core.value.resolver else {
      log(.error, "no resolver defined to resolve \(host)")
      return fail(502)
    }
    state = .resolving
    resolvingPort = target.portNumber
    core.resolve(host, settings, handle)
  }

  /// The name of a computed destination was resolved, or not.
  func onResolved(_ name: String, _ addresses: [SocketAddress], _ problem: String?) {
    guard state == .resolving else { return }
    state = .working
    if addresses.isEmpty {
      log(.error, "\(name) could not be resolved (\(problem ?? "no address"))")
      return fail(502)
    }
    let port = resolvingPort
    attempt.group = core.adHocGroup(
      proxyHost.string,
      addresses.map { address in
        var address = address
        address.port = port
        return address
      })
    prepareBody()
  }

  // --- the request body ---------------------------------------------------------------------------

  /// Reads the body whole if requests are buffered, then starts the first try.
  private func prepareBody() {
    let settings = location.settings.proxy.value
    guard body.hasBody, settings.passesRequestBody, settings.body == nil,
      body.phase == .untouched
    else { return startTries() }
    if settings.requestBuffering && !requestedUpgrade {
      body.phase = .buffering
      state = .readingBody
      onBodyReadable()
    } else if requestedUpgrade {
      body.phase = .streaming
      startTries()
    } else {
      readAhead()
    }
  }

  /// Takes what is there already of a body that is to be streamed. If that is all of it, the request
  /// can be sent again to another server, like one that was buffered.
  private func readAhead() {
    let settings = location.settings.core.value
    let memory = loop.pool.take(atLeast: bodyBufferSize(settings) + ChunkedEncoder.maxHeaderLength)
    memory.reset(headroom: ChunkedEncoder.maxHeaderLength)
    body.memory = memory
    body.phase = .streaming
    while memory.room > 0 && body.phase == .streaming {
      switch stream.readBody(into: memory) {
      case .bytes(let count):
        body.receivedCount += count
        if settings.maxBodyBytes > 0 && body.receivedCount > settings.maxBodyBytes {
          log(.error, "client intended to send too large chunked body: \(body.receivedCount) bytes")
          keepAlive = false
          return fail(413)
        }
      case .wouldBlock: return startTries()
      case .complete: body.phase = .buffered
      case .failed(let status):
        keepAlive = false
        return fail(status == 0 ? 499 : status)
      }
    }
    startTries()
  }

  /// Bytes of the body, or room for them, are there.
  func onBodyReadable() {
    switch state {
    case .readingBody: bufferBody()
    case .attempting: pumpRequestBody()
    case .tunneling: pumpTunnel()
    default: break
    }
  }

  /// Reads the body. The client has `client_body_timeout` for what isn't there yet; the time until more
  /// is wanted is the upstream's.
  func readBody(into buffer: Buffer) -> BodyRead {
    let result = stream.readBody(into: buffer)
    if case .wouldBlock = result {
      stream.awaitBody(atMost: location.settings.core.value.bodyTimeout)
    } else {
      stream.stopAwaitingBody()
    }
    return result
  }

  private func bufferBody() {
    let settings = location.settings.core.value
    while true {
      if body.memory == nil { body.memory = loop.pool.take(atLeast: bodyBufferSize(settings)) }
      guard let memory = body.memory else { return }
      if memory.room == 0 {
        guard spoolBody(memory, settings) else { return }
      }
      switch readBody(into: memory) {
      case .bytes(let count):
        body.receivedCount += count
        if settings.maxBodyBytes > 0 && body.receivedCount > settings.maxBodyBytes {
          log(.error, "client intended to send too large chunked body: \(body.receivedCount) bytes")
          keepAlive = false
          return fail(413)
        }
      case .wouldBlock: return
      case .complete:
        if (body.file != nil || settings.bodyInFileOnly != .off) && !memory.isEmpty {
          guard spoolBody(memory, settings) else { return }
        }
        body.phase = .buffered
        state = .working
        return startTries()
      case .failed(let status):
        keepAlive = false
        return fail(status == 0 ? 499 : status)
      }
    }
  }

  /// A body of known length gets a buffer that fits, up to `client_body_buffer_size`.
  private func bodyBufferSize(_ settings: Borrowed<CoreSettings>) -> Int {
    if case .length(let length) = body.framing { return min(length, settings.bodyBufferBytes) }
    return settings.bodyBufferBytes
  }

  private func spoolBody(_ memory: Buffer, _ settings: Borrowed<CoreSettings>) -> Bool {
    do throws(SystemError) {
      if body.file == nil {
        let folder = plan.path(settings.bodyTemporaryPath)
        if settings.bodyInFileOnly == .off {
          body.file = try TemporaryFile.make(in: folder)
          log(.warn, "a client request body is buffered to a temporary file")
        } else {
          body.file = try TemporaryFile.make(
            in: folder, named: "\(loop.wallTime)-\(core.index)-\(core.nextSerial())",
            isKept: settings.bodyInFileOnly == .on)
        }
      }
      try body.file?.append(memory.unread)
      memory.reset()
      return true
    } catch {
      log(.crit, "writing a client request body to a temporary file failed \(error.logText)")
      keepAlive = false
      fail(error.code == 28 ? 507 : 500)
      return false
    }
  }

  // --- the request head ---------------------------------------------------------------------------

  /// Writes the request as the upstream gets it; a small buffered body stands behind the head.
  func writeUpstreamRequest() {
    let settings = location.settings.proxy.value
    let target = upstreamTarget(settings)
    let name = settings.method.map { evaluate($0) } ?? methodName
    let replacement = settings.body.map { evaluate($0) }
    let speaksHTTP2 = settings.speaksHTTP2
    var size = headBytes.count + target.count + name.count + 512 + proxyHost.count
    // Records take more room than lines.
    if speaksHTTP2 { size += (request.fields.count + settings.setFields.count) * 4 }
    let isForwarded = settings.forwarded
    let forwarded = isForwarded ? ForwardedFields(self) : nil
    if let forwarded { size += forwarded.byteCount }
    let fieldCount = settings.setFields.count
    unsafe withUnsafeTemporaryAllocation(of: Bytes.self, capacity: fieldCount) { values in
      for index in 0..<fieldCount {
        let value = evaluate(settings.setFields[index].value)
        unsafe values.initializeElement(at: index, to: value)
        size += value.count + settings.setFields[index].name.count + 4
      }
      let inlineBody = replacement?.count ?? inlineBodyCount
      let buffer = loop.pool.take(atLeast: size + inlineBody)
      var head = RequestHeadWriter(buffer, speaksHTTP2: speaksHTTP2)
      attempt.bodySent = 0
      if speaksHTTP2 {
        head.start(
          name, target, scheme: proxyIsTLS ? Bytes("https") : Bytes("http"),
          authority: settings.setsHost ? Bytes() : proxyHost)
      } else {
        head.start(name, target, minorVersion: settings.httpMinorVersion)
      }
      for index in 0..<fieldCount {
        head.field(settings.setFields[index].name, unsafe values[index])
      }
      if !settings.setsHost && !speaksHTTP2 { head.field(Bytes("Host"), proxyHost) }
      forwarded?.write(&head)
      if speaksHTTP2 { writeTrailerWish(settings, &head) } else { writeConnection(settings, &head) }
      writeBodyFraming(settings, replacement, &head)
      if settings.passesRequestHeaders { writeClientFields(settings, &head) }
      head.end()
      attempt.fieldBlockCount = buffer.count
      if let replacement {
        buffer.append(replacement)
      } else if inlineBody > 0, let memory = body.memory {
        buffer.append(memory.unread)
        attempt.bodySent = memory.count
      }
      attempt.request = buffer
      upstreamHeadLength = buffer.count - attempt.bodySent
    }
  }

  /// How much of the client's body stands behind the head, to go out with it: all or nothing.
  private var inlineBodyCount: Int {
    guard body.phase == .buffered, body.file == nil, let memory = body.memory,
      location.settings.proxy.value.passesRequestBody
    else { return 0 }
    return memory.count <= 8 << 10 ? memory.count : 0
  }

  /// The target of the upstream's request line.
  private func upstreamTarget(_ settings: Borrowed<ProxySettings>) -> Bytes {
    guard let replacement = proxyURI else {
      if !isInternal && uriIsOriginal { return originForm }
      return withArguments(escape(uri, .uri))
    }
    if proxyURIIsComplete { return replacement }
    if !locationIsValid { return withArguments(escape(uri, .uri)) }
    // The part that the location matched gives way to the URI of proxy_pass.
    let rest =
      location.isRegex || location.isNamed || location.prefix.count > uri.count
      ? Bytes() : uri.dropping(location.prefix.count)
    return withArguments(concatenate(replacement, escape(rest, .uri)))
  }

  /// The request's own target, as sent; of an absolute form the part behind the authority.
  private var originForm: Bytes {
    guard request.form == .absolute else { return requestTarget }
    let path = request.path.of(headBytes)
    let origin = path.isEmpty ? Bytes("/") : path
    guard let query = request.query else { return origin }
    return concatenate(origin, Bytes("?"), query.of(headBytes))
  }

  private func withArguments(_ path: Bytes) -> Bytes {
    arguments.isEmpty ? path : concatenate(path, Bytes("?"), arguments)
  }

  /// Whether the client's wish to switch protocols is the upstream's business too.
  var passesUpgrade: Bool {
    let settings = location.settings.proxy.value
    guard requestedUpgrade, settings.httpMinorVersion == 1, !settings.speaksHTTP2,
      let upgrade = field(.upgrade)
    else {
      return false
    }
    if settings.setsConnection { return settings.setsUpgrade }
    return settings.setsUpgrade || !upgrade.equalsIgnoringCase(Bytes("h2c"))
  }

  /// Upgrades pass by themselves, unless the configuration sets the fields.
  private func writeConnection(_ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter)
  {
    guard !settings.setsConnection else { return }
    if passesUpgrade, let upgrade = field(.upgrade) {
      head.field(Bytes("Connection"), Bytes("upgrade"))
      if !settings.setsUpgrade { head.field(Bytes("Upgrade"), upgrade) }
    } else if settings.httpMinorVersion == 0 {
      head.field(Bytes("Connection"), Bytes("close"))
    }
  }

  /// gRPC clients say that they take trailers, and servers want to hear it.
  private func writeTrailerWish(
    _ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter
  ) {
    guard settings.isGRPC, let wish = field(.te), HeaderList.contains(Bytes("trailers"), in: wish)
    else { return }
    head.field(Bytes("te"), Bytes("trailers"))
  }

  private func writeBodyFraming(
    _ settings: Borrowed<ProxySettings>, _ replacement: Bytes?, _ head: inout RequestHeadWriter
  ) {
    attempt.sendsChunked = false
    if let replacement {
      head.length(replacement.count)
      return
    }
    guard body.hasBody, settings.passesRequestBody else { return }
    switch body.phase {
    case .buffered: head.length(body.bufferedCount)
    case .streaming, .streamed:
      if case .length(let length) = body.framing {
        head.length(length)
      } else if !settings.speaksHTTP2 {
        attempt.sendsChunked = true
        head.field(Bytes("Transfer-Encoding"), Bytes("chunked"))
      }
    case .untouched, .buffering: break
    }
  }

  private func writeClientFields(
    _ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter
  ) {
    let bytes = headBytes
    for entry in request.fields {
      if settings.droppedRequestFields.contains(entry.token) { continue }
      let name = entry.name.of(bytes)
      if entry.token == .other && isReplaced(name, settings) { continue }
      if connectionNamesFields && isNamedByConnection(name) { continue }
      head.field(name, entry.value.of(bytes))
    }
  }

  /// Whether the configuration sets a field of that name; `_` counts as `-`, so that no alias of a
  /// field we set can be smuggled past it.
  private func isReplaced(_ name: Bytes, _ settings: Borrowed<ProxySettings>) -> Bool {
    for own in settings.setFields where FieldAlias.isSame(own.name, name) { return true }
    return settings.forwarded && ForwardedFields.isOwn(name)
  }

  /// RFC 9110 §7.6.1: fields named by Connection end here.
  func isNamedByConnection(_ name: Bytes) -> Bool {
    for entry in request.fields where entry.token == .connection {
      if HeaderList.contains(name, in: entry.value.of(headBytes)) { return true }
    }
    return false
  }
}

/// `proxy_forwarded on`: where a request came from, in the forms that applications read.
struct ForwardedFields {
  private let client: Bytes
  private let scheme: Bytes
  private let host: Bytes
  private let forwarded: Bytes

  init(_ exchange: Exchange) {
    client = exchange.value(of: .builtin(.remote_addr)) ?? Bytes()
    scheme = exchange.connection.tls == nil ? Bytes("http") : Bytes("https")
    host = exchange.host
    let isSix = client.firstIndex(of: UInt8(ascii: ":")) != nil
    let node =
      isSix ? exchange.concatenate(Bytes("\"["), client, Bytes("]\"")) : client
    let first = exchange.concatenate(Bytes("for="), node, Bytes(";proto="))
    let second = exchange.concatenate(scheme, Bytes(";host=\""), host)
    forwarded = exchange.concatenate(first, second, Bytes("\""))
  }

  var byteCount: Int { 160 + client.count * 2 + scheme.count + host.count + forwarded.count }

  func write(_ head: inout RequestHeadWriter) {
    head.field(Bytes("X-Forwarded-For"), client)
    head.field(Bytes("X-Forwarded-Proto"), scheme)
    head.field(Bytes("X-Forwarded-Host"), host)
    head.field(Bytes("X-Real-IP"), client)
    head.field(Bytes("Forwarded"), forwarded)
  }

  /// Whether a client's field of that name would pretend to be one of these.
  static func isOwn(_ name: Bytes) -> Bool {
    FieldAlias.isSame(name, Bytes("X-Forwarded-For"))
      || FieldAlias.isSame(name, Bytes("X-Forwarded-Proto"))
      || FieldAlias.isSame(name, Bytes("X-Forwarded-Host"))
      || FieldAlias.isSame(name, Bytes("X-Real-IP")) || FieldAlias.isSame(name, Bytes("Forwarded"))
  }
}

/// Names of fields that an application can't tell apart: CGI and its heirs map `-` to `_`.
enum FieldAlias {
  static func isSame(_ a: Bytes, _ b: Bytes) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where fold(a[index]) != fold(b[index]) { return false }
    return true
  }

  private static func fold(_ byte: UInt8) -> UInt8 {
    switch byte {
    case UInt8(ascii: "_"), UInt8(ascii: "."): UInt8(ascii: "-")
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
    default: byte
    }
  }
}

/// A computed `proxy_pass` URL, taken apart.
struct ProxyTarget {
  var isTLS: Bool
  var authority: Bytes
  var host: Bytes
  var port: Bytes
  var portNumber: UInt16
  /// Whether the authority has no port.
  var hostOnly: Bool
  var uri: Bytes?
  var address: SocketAddress?

  /// nil unless `url` has an authority and begins with http:// or https://, or, for gRPC, with
  /// grpc://, grpcs:// or nothing.
  static func parse(_ url: Bytes, isGRPC: Bool = false) -> ProxyTarget? {
    let isTLS = url.hasPrefix(isGRPC ? Bytes("grpcs://") : Bytes("https://"))
    let isPlain = url.hasPrefix(isGRPC ? Bytes("grpc://") : Bytes("http://"))
    guard isTLS || isPlain || isGRPC else { return nil }
    let rest = url.dropping(isTLS ? 8 : isPlain ? 7 : 0)
    if rest.hasPrefix(Bytes("unix:")) { return parseUnix(rest, isTLS: isTLS) }
    var end = 0
    while end < rest.count && rest[end] != UInt8(ascii: "/") && rest[end] != UInt8(ascii: "?") {
      end += 1
    }
    let authority = rest.prefix(end)
    guard !authority.isEmpty else { return nil }
    let uri = end < rest.count ? rest.dropping(end) : nil
    if isGRPC && uri != nil { return nil }
    var host = authority
    var port = isTLS ? Bytes("443") : Bytes("80")
    var hostOnly = true
    let bracket = authority.lastIndex(of: UInt8(ascii: "]")) ?? -1
    if let colon = authority.lastIndex(of: UInt8(ascii: ":")), colon > bracket {
      host = authority.prefix(colon)
      port = authority.dropping(colon + 1)
      hostOnly = false
    }
    guard let number = port.decimal, number > 0, number < 65_536 else { return nil }
    let literal =
      host.hasPrefix(Bytes("[")) && bracket > 0
      ? host.slice(1, host.count - 1).string : host.string
    return ProxyTarget(
      isTLS: isTLS, authority: authority, host: host, port: port, portNumber: UInt16(number),
      hostOnly: hostOnly, uri: uri, address: SocketAddress(literal: literal, port: UInt16(number)))
  }

  private static func parseUnix(_ rest: Bytes, isTLS: Bool) -> ProxyTarget? {
    let tail = rest.dropping(5)
    let colon = tail.firstIndex(of: UInt8(ascii: ":"))
    let path = colon.map { tail.prefix($0) } ?? tail
    guard let address = SocketAddress(unixPath: path.string) else { return nil }
    return ProxyTarget(
      isTLS: isTLS, authority: Bytes("localhost"), host: Bytes("localhost"), port: Bytes(),
      portNumber: 0, hostOnly: true, uri: colon.map { tail.dropping($0 + 1) }, address: address)
  }
}

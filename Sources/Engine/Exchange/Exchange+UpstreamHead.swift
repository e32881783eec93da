// The head of the request as an upstream gets it: target, fields that the configuration sets,
// fields of the client (https://nginx.org/en/docs/http/ngx_http_proxy_module.html).

import HTTP

extension Exchange {
  /// Writes the request as the upstream gets it; a small buffered body stands behind the head.
  func writeUpstreamRequest() {
    let settings = location.settings.proxy.value
    attempt.withholdsConditions = cache?.mayStore == true
    let target = targetSafe(upstreamTarget)
    let name = upstreamMethodName(settings)
    let replacement = settings.body.map { evaluate($0) }
    let speaksHTTP2 = settings.version == .http2
    var size = headBytes.count + target.count + name.count + 512 + proxyHost.count
    // A client's field may have taken two bytes beside name and value ("a:b", LF); a line takes
    // four, a record eight.
    let difference = speaksHTTP2 ? H2FieldBlock.overhead - 2 : 2
    size += (request.fields.count + settings.setFields.count) * difference
    if settings.isGRPC { size += binaryMetadataGrowth(H2FieldBlock.overhead) }
    let isForwarded = settings.forwarded
    let forwarded = isForwarded ? ForwardedFields(self) : nil
    if let forwarded { size += forwarded.byteCount }
    if let stored = cache?.stored { size += stored.header.head.count + 128 }
    let fieldCount = settings.setFields.count
    unsafe withUnsafeTemporaryAllocation(of: Bytes.self, capacity: fieldCount) { values in
      for index in 0..<fieldCount {
        var value =
          settings.setFields[index].value.literal
          ?? fieldSafe(evaluate(settings.setFields[index].value))
        if speaksHTTP2 { value = fieldStrict(value) }
        unsafe values.initializeElement(at: index, to: value)
        size += value.count + settings.setFields[index].name.count + 4
      }
      let firstPiece = replacement == nil ? firstPiece(settings) : nil
      let inlineBody = replacement?.count ?? firstPiece.map(framedCount) ?? inlineBodyCount
      var head = RequestHeadWriter(
        loop.pool.take(atLeast: size + inlineBody), speaksHTTP2: speaksHTTP2)
      attempt.inlineBodyCount = 0
      if speaksHTTP2 {
        head.start(
          name, target, scheme: proxyIsTLS ? Bytes("https") : Bytes("http"),
          authority: settings.setsHost ? Bytes() : proxyHost)
      } else {
        head.start(name, target, minorVersion: settings.version == .http10 ? 0 : 1)
      }
      // An empty value leaves the field out, as `proxy_set_header` documents.
      for index in 0..<fieldCount where unsafe !values[index].isEmpty {
        head.field(settings.setFields[index].name, unsafe values[index])
      }
      if !settings.setsHost && !speaksHTTP2 { head.field(Bytes("Host"), proxyHost) }
      forwarded?.write(&head)
      if speaksHTTP2 { writeTrailerWish(settings, &head) } else { writeConnection(settings, &head) }
      writeBodyFraming(settings, replacement, &head)
      if let cache { writeValidators(cache, settings, &head) }
      if settings.passesRequestHeaders { writeClientFields(settings, &head) }
      let buffer = head.finish()
      attempt.fieldBlockCount = buffer.count
      attempt.joinedPiece = nil
      if let replacement {
        buffer.append(replacement)
      } else if let firstPiece {
        join(firstPiece, to: buffer)
      } else if inlineBody > 0, let memory = body.memory {
        buffer.append(memory.unread)
        attempt.inlineBodyCount = memory.count
      }
      attempt.request = buffer
    }
  }

  /// The method to ask by, which is noted: what `proxy_method` says, GET for a cache that wants the
  /// body, or the client's.
  private func upstreamMethodName(_ settings: Borrowed<ProxySettings>) -> Bytes {
    if let template = settings.method {
      let name = targetSafe(evaluate(template))
      attempt.method = Method.lookup(name)
      return name
    }
    let isConverted = cache?.convertsHead == true
    attempt.method = isConverted ? .get : method
    return isConverted ? Bytes("GET") : methodName
  }

  /// How much of the client's body stands behind the head, to go out with it: all or nothing.
  private var inlineBodyCount: Int {
    guard body.phase == .buffered, body.file == nil, let memory = body.memory,
      location.settings.proxy.value.passesRequestBody
    else { return 0 }
    return memory.count <= 8 << 10 ? memory.count : 0
  }

  /// The target of the upstream's request line.
  var upstreamTarget: Bytes {
    guard let replacement = proxyURI else {
      // A named location (`try_files … @app`) doesn't change the URI.
      if targetIsCurrent { return requestTarget }
      return withArguments(escape(uri, .uri))
    }
    if proxyURIIsComplete {
      // A target begins with a slash (RFC 9112 §3.2.1).
      return replacement.hasPrefix(Bytes("?"))
        ? concatenate(Bytes("/"), replacement) : replacement
    }
    if !locationIsValid { return withArguments(escape(uri, .uri)) }
    // The part that the location matched gives way to the URI of proxy_pass.
    let rest =
      location.isRegex || location.isNamed || location.prefix.count > uri.count
      ? Bytes() : uri.dropping(location.prefix.count)
    return withArguments(concatenate(replacement, escape(rest, .uri)))
  }

  /// `requestTarget`, out of the head.
  var originForm: Bytes {
    guard request.form == .absolute else { return request.target.of(headBytes) }
    let path = request.path.of(headBytes)
    let origin = path.isEmpty ? Bytes("/") : path
    guard let query = request.query else { return origin }
    return concatenate(origin, Bytes("?"), query.of(headBytes))
  }

  /// `target` as it may stand in a request line: blanks and control characters, which a variable
  /// that holds a decoded path brings in, encoded.
  private func targetSafe(_ target: Bytes) -> Bytes {
    percentEncoded(target) { $0 <= 0x20 || $0 == 0x7f }
  }

  /// `value` as it may stand in a field. A line break with a blank behind it, by which the lines of
  /// `$ssl_client_cert` are one field to nginx, is one blank: what any recipient takes it for
  /// (obs-fold, RFC 9112 §5.2).
  private func fieldSafe(_ value: Bytes) -> Bytes {
    guard value.firstIndex(of: 10) != nil else { return lineSafe(value) }
    let room = arena.allocate(value.count)
    var count = 0
    var index = 0
    while index < value.count {
      let isFold =
        value[index] == 10 && index + 1 < value.count
        && (value[index + 1] == 9 || value[index + 1] == 32)
      room[count] = isFold ? 32 : value[index]
      index += isFold ? 2 : 1
      count += 1
    }
    return lineSafe(room.readOnly.prefix(count))
  }

  /// `value` as HTTP/2 has fields (RFC 9113 §8.2.1): without blanks around it, and without control
  /// characters, for which servers reset streams.
  private func fieldStrict(_ value: Bytes) -> Bytes {
    percentEncoded(value.trimmed) { $0 < 0x20 && $0 != 9 || $0 == 0x7f }
  }

  private func withArguments(_ path: Bytes) -> Bytes {
    arguments.isEmpty ? path : concatenate(path, Bytes("?"), arguments)
  }

  /// Whether the client's wish to switch protocols is the upstream's business too.
  var passesUpgrade: Bool {
    let settings = location.settings.proxy.value
    guard requestedUpgrade, settings.version == .http11, let upgrade = field(.upgrade) else {
      return false
    }
    if settings.setsConnection { return settings.setsUpgrade }
    return settings.setsUpgrade || !HeaderList.contains(Bytes("h2c"), in: upgrade)
  }

  /// Upgrades pass by themselves, unless the configuration sets the fields.
  private func writeConnection(_ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter)
  {
    guard !settings.setsConnection else { return }
    if passesUpgrade, let upgrade = field(.upgrade) {
      head.field(Bytes("Connection"), Bytes("upgrade"))
      if !settings.setsUpgrade { head.field(Bytes("Upgrade"), upgrade) }
    } else if settings.version == .http10 {
      head.field(Bytes("Connection"), Bytes("close"))
    }
  }

  /// gRPC clients say that they take trailers, and servers want to hear it.
  private func writeTrailerWish(
    _ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter
  ) {
    guard settings.isGRPC, !settings.setsTE, let wish = field(.te),
      HeaderList.contains(Bytes("trailers"), in: wish)
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
    case .streaming:
      if case .length(let length) = body.framing {
        head.length(length)
      } else if settings.version != .http2 {
        attempt.sendsChunked = true
        head.field(Bytes("Transfer-Encoding"), Bytes("chunked"))
      }
    case .untouched, .buffering, .spent: break
    }
  }

  private func writeClientFields(
    _ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter
  ) {
    let bytes = headBytes
    let withholdsConditions = attempt.withholdsConditions
    let withholdsRange = withholdsRange
    // By index: a loop over the array itself counts a reference to it.
    for index in 0..<request.fields.count {
      let entry = request.fields[index]
      if settings.droppedRequestFields.contains(entry.token) { continue }
      if withholdsConditions && entry.token.concernsOneClient { continue }
      if withholdsRange && (entry.token == .range || entry.token == .ifRange) { continue }
      let name = entry.name.of(bytes)
      if entry.token == .other && isReplaced(name, settings) { continue }
      if connectionNamesFields && request.connectionNames(name, in: bytes) { continue }
      var values = entry.value.of(bytes)
      guard settings.isGRPC, entry.token == .other, !values.isEmpty, Self.isBinary(name) else {
        head.field(name, values)
        continue
      }
      while let value = Self.nextBinary(&values) { head.field(name, value) }
    }
  }

  /// Whether the whole is asked for though the client wants a part, which is cut out here if it may
  /// be: by parts a client would see what the location replaces, half a command or half a string.
  /// Nor is it parts of includes that the client wants. What the configuration says of Range itself
  /// goes before.
  var withholdsRange: Bool {
    guard field(.range) != nil else { return false }
    let settings = location.settings
    return (settings.filters.value.changesText || stream is IncludeStream)
      && !settings.proxy.value.droppedRequestFields.contains(.range)
  }

  /// Whether the configuration sets a field of that name; `_` counts as `-`, so that no alias of a
  /// field we set can be smuggled past it.
  private func isReplaced(_ name: Bytes, _ settings: Borrowed<ProxySettings>) -> Bool {
    for own in settings.setFields where FieldAlias.isSame(own.name, name) { return true }
    return settings.forwarded && ForwardedFields.isOwn(name)
  }
}

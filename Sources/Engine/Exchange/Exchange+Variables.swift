// The values of variables (https://nginx.org/en/docs/varindex.html). nil: there is none, which
// templates take for empty and logs for "-".

import HTTP

extension Exchange {
  /// The value of `variable` for this exchange.
  func value(of variable: Variable) -> Bytes? {
    switch variable {
    case .builtin(let name): return value(of: name)
    case .slot(let slot), .map(let slot): return slotValue(slot)
    case .member(let family, let name): return value(of: family, name)
    case .proxyField(let field): return value(of: field)
    }
  }

  /// A variable that was assigned, or that a map computes now.
  private func slotValue(_ slot: Int) -> Bytes? {
    if let value = values[slot] { return value }
    guard let map = plan.maps[slot] else { return nil }
    if case .unassigned(let variable) = map.kind { return value(of: variable) }
    let value = compute(variableName(slot)) { computed(by: map) } ?? Bytes()
    if !map.isVolatile { values[slot] = value }
    return value
  }

  /// What `map`, `split_clients` or `geo` makes of this request.
  private func computed(by map: MapVariable) -> Bytes {
    switch map.kind {
    case .map(let map): computed(by: map)
    case .split(let source, let table):
      table.find(evaluate(source)).map { evaluate($0) } ?? Bytes()
    case .geo(let geo): value(of: geo)
    case .unassigned(let variable): value(of: variable) ?? Bytes()
    }
  }

  private func computed(by map: ValueMap) -> Bytes {
    let saved = captures
    let result = map.table.find(evaluate(map.source), captures: &captures)
    if let bound = result?.bound { bindCaptures(bound) }
    let value = evaluate(result?.value ?? map.defaultValue)
    // Whoever decides by the value has to know that it is none.
    let gaveUp = captures.gaveUp
    if gaveUp { reportGivenUp() }
    captures = saved
    captures.gaveUp = saved.gaveUp || gaveUp
    return value
  }

  /// The value of a variable of a family, such as `$http_NAME`.
  func value(of family: Variable.Family, _ name: Bytes) -> Bytes? {
    switch family {
    case .argument: QueryArguments.value(of: name, in: arguments)
    case .cookie: cookie(name)
    case .requestField:
      joinFields(
        request.fields, headBytes, name, separator: isCookieName(name) ? Bytes("; ") : Bytes(", "))
    case .upstreamField:
      attempt.hasHead
        ? joinFields(attempt.head.fields, attempt.headBytes, name, separator: Bytes(", ")) : nil
    case .sentField: sentField(name)
    case .upstreamCookie: upstreamCookie(name)
    case .sentTrailer: joinFields(response.trailers, name)
    case .upstreamTrailer:
      joinFields(attempt.trailers, attempt.trailerBytes, name, separator: Bytes(", "))
    }
  }

  private func isCookieName(_ name: Bytes) -> Bool { name == Bytes("cookie") }

  /// `$http_NAME`: all fields of that name, `_` in the variable standing for `-`.
  private func joinFields(_ fields: [Field], _ bytes: Bytes, _ name: Bytes, separator: Bytes)
    -> Bytes?
  {
    var result: Bytes?
    for entry in fields where isVariableName(name, of: entry.name.of(bytes)) {
      let value = entry.value.of(bytes)
      result = result.map { concatenate($0, separator, value) } ?? value
    }
    return result
  }

  private func isVariableName(_ variable: Bytes, of field: Bytes) -> Bool {
    guard variable.count == field.count else { return false }
    for index in 0..<field.count {
      let byte = field[index]
      let folded = byte == UInt8(ascii: "-") ? UInt8(ascii: "_") : ASCII.lowercased(byte)
      if folded != variable[index] { return false }
    }
    return true
  }

  /// `$cookie_NAME`: what the client sent in Cookie.
  func cookie(_ name: Bytes) -> Bytes? {
    for entry in request.fields where entry.token == .cookie {
      if let value = Cookie.value(of: name, in: entry.value.of(headBytes)) { return value }
    }
    return nil
  }

  private func upstreamCookie(_ name: Bytes) -> Bytes? {
    guard attempt.hasHead else { return nil }
    for entry in attempt.head.fields where entry.token == .setCookie {
      let line = entry.value.of(attempt.headBytes)
      let end = line.firstIndex(of: UInt8(ascii: ";")) ?? line.count
      guard let equals = line.prefix(end).firstIndex(of: UInt8(ascii: "=")) else { continue }
      // As nginx does: case doesn't count, and only spaces may stand around name and value.
      if line.prefix(equals).trimmed.equalsIgnoringCase(name),
        line.prefix(end).firstIndex(of: 9) == nil
      {
        return line.slice(equals + 1, end).trimmed
      }
    }
    return nil
  }

  /// `$sent_http_NAME`: a field of the response, those that are kept apart included.
  private func sentField(_ name: Bytes) -> Bytes? {
    if name == Bytes("content_type") { return response.contentType }
    if name == Bytes("content_length") { return response.contentLength.map { arena.decimal($0) } }
    if name == Bytes("location") { return response.first(.location) }
    if name == Bytes("last_modified"), let moment = response.lastModified {
      let room = arena.allocate(29)
      HTTPDate.write(moment, into: room)
      return room.readOnly
    }
    if name == Bytes("connection"), !request.isHTTP2 {
      return response.isUpgrade
        ? Bytes("upgrade") : keepAlive ? Bytes("keep-alive") : Bytes("close")
    }
    if name == Bytes("transfer_encoding") {
      let isChunked =
        response.contentLength == nil && response.hasBody && !response.isUpgrade
        && !request.isHTTP2 && request.minorVersion >= 1
        && location.settings.core.value.chunkedTransferEncoding
      return isChunked ? Bytes("chunked") : nil
    }
    if name == Bytes("accept_ranges"), response.acceptsRanges, response.status == 200 {
      return Bytes("bytes")
    }
    if name == Bytes("server") { return response.server ?? Bytes("portico") }
    if name == Bytes("date") { return response.date ?? core.clock.httpDate }
    return joinFields(response.fields, name)
  }

  private func joinFields(_ fields: [OutgoingField], _ name: Bytes) -> Bytes? {
    var result: Bytes?
    for entry in fields where isVariableName(name, of: entry.name) {
      result = result.map { concatenate($0, Bytes(", "), entry.value) } ?? entry.value
    }
    return result
  }

  // --- what the proxy computes -------------------------------------------------------------------

  /// Each of these is a file `Exchange+…Variables`.
  private func value(of builtin: Builtin) -> Bytes? {
    switch builtin {
    case .request(let name): value(of: name)
    case .client(let name): value(of: name)
    case .response(let name): value(of: name)
    case .process(let name): value(of: name)
    case .proxy(let name): value(of: name)
    case .tries(let name): value(of: name)
    case .tls(let name): value(of: name)
    case .certificate(let name): value(of: name)
    }
  }

  /// nil for an empty value: logs have it as "-".
  func nonEmpty(_ bytes: Bytes) -> Bytes? { bytes.isEmpty ? nil : bytes }

  /// Milliseconds as seconds with three decimals.
  func seconds(_ time: Milliseconds) -> Bytes {
    let time = max(0, time)
    let room = arena.allocate(24)
    var count = writeDecimal(time / 1000, into: room)
    room[count] = UInt8(ascii: ".")
    let rest = time % 1000
    room[count + 1] = UInt8(ascii: "0") + UInt8(rest / 100)
    room[count + 2] = UInt8(ascii: "0") + UInt8(rest / 10 % 10)
    room[count + 3] = UInt8(ascii: "0") + UInt8(rest % 10)
    count += 4
    return room.readOnly.prefix(count)
  }
}

// The values of variables (https://nginx.org/en/docs/varindex.html). nil: there is none, which
// templates take for empty and logs for "-".

import CLinux
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
    if let geo = map.geo {
      let value = value(of: geo)
      if !map.isVolatile { values[slot] = value }
      return value
    }
    if let variable = map.unassigned { return value(of: variable) }
    let source = evaluate(map.source)
    if let split = map.split {
      let value = split.find(source).map { evaluate($0) } ?? Bytes()
      values[slot] = value
      return value
    }
    let saved = captures
    let result = map.table.find(source, captures: &captures)
    if let bound = result?.bound { bindCaptures(bound) }
    let value = evaluate(result?.value ?? map.defaultValue)
    captures = saved
    if !map.isVolatile { values[slot] = value }
    return value
  }

  private func value(of family: Variable.Family, _ name: Bytes) -> Bytes? {
    switch family {
    case .argument: QueryArguments.value(of: name, in: arguments)
    case .cookie: cookie(name)
    case .requestField: joinFields(request.fields, headBytes, name, separator: isCookieName(name) ? Bytes("; ") : Bytes(", "))
    case .upstreamField: joinFields(attempt.head.fields, attempt.headBytes, name, separator: Bytes(", "))
    case .sentField: sentField(name)
    case .upstreamCookie: upstreamCookie(name)
    case .sentTrailer: joinFields(response.trailers, name)
    case .upstreamTrailer: joinFields(attempt.trailers, attempt.trailerBytes, name, separator: Bytes(", "))
    }
  }

  private func isCookieName(_ name: Bytes) -> Bool { name == Bytes("cookie") }

  /// `$http_NAME`: all fields of that name, `_` in the variable standing for `-`.
  private func joinFields(_ fields: [Field], _ bytes: Bytes, _ name: Bytes, separator: Bytes) -> Bytes? {
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
      let folded =
        byte == UInt8(ascii: "-")
        ? UInt8(ascii: "_") : byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
      if folded != variable[index] { return false }
    }
    return true
  }

  func cookie(_ name: Bytes) -> Bytes? {
    for entry in request.fields where entry.token == .cookie {
      if let value = Cookie.value(of: name, in: entry.value.of(headBytes)) { return value }
    }
    return nil
  }

  private func upstreamCookie(_ name: Bytes) -> Bytes? {
    for entry in attempt.head.fields where entry.token == .setCookie {
      let line = entry.value.of(attempt.headBytes)
      let end = line.firstIndex(of: UInt8(ascii: ";")) ?? line.count
      guard let equals = line.prefix(end).firstIndex(of: UInt8(ascii: "=")) else { continue }
      // As nginx does: only spaces may stand around name and value.
      if line.prefix(equals).trimmed == name, line.prefix(end).firstIndex(of: 9) == nil {
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
    if name == Bytes("connection") {
      return response.isUpgrade ? Bytes("upgrade") : keepAlive ? Bytes("keep-alive") : Bytes("close")
    }
    if name == Bytes("transfer_encoding") {
      return response.contentLength == nil && response.hasBody ? Bytes("chunked") : nil
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

  // --- builtin ------------------------------------------------------------------------------------

  private func value(of name: Builtin) -> Bytes? {
    switch name {
    case .args, .query_string: return nonEmpty(arguments)
    case .is_args: return arguments.isEmpty ? Bytes() : Bytes("?")
    case .uri, .document_uri: return uri.isEmpty && requestTarget.isEmpty ? nil : uri
    case .request_uri: return nonEmpty(requestTarget)
    case .request: return nonEmpty(requestLine)
    case .request_port: return requestPort
    case .is_request_port: return requestPort == nil ? Bytes() : Bytes(":")
    case .request_method: return nonEmpty(methodName)
    case .host: return hostVariable
    case .hostname: return core.hostName
    case .scheme: return connection.tls == nil ? Bytes("http") : Bytes("https")
    case .https: return connection.tls == nil ? Bytes() : Bytes("on")
    case .http2: return http2Variable
    case .server_name: return site.primaryName
    case .server_protocol: return protocolName
    case .status: return arena.decimal(errorStatus != 0 && !didSendHead ? errorStatus : response.status)
    case .remote_addr: return remoteAddress
    case .remote_port: return port(of: clientAddress)
    case .realip_remote_addr, .realip_remote_port: return peerValue(name)
    case .binary_remote_addr: return binaryAddress
    case .server_addr: return arena.copy(connection.localAddress.host)
    case .server_port: return arena.decimal(Int(connection.localAddress.port))
    case .connection: return arena.decimal(Int(connection.serial))
    case .connection_requests: return arena.decimal(connection.requestCount)
    case .connection_time: return seconds(loop.now - connection.openedAt)
    case .pid: return arena.decimal(Int(linux_pid()))
    case .pipe: return connection.isPipelined ? Bytes("p") : Bytes(".")
    case .nginx_version: return Bytes("1.31.5")
    case .msec: return seconds(loop.wallTime)
    case .time_local: return core.clock.timeLocal
    case .date_gmt: return date(isLocal: false)
    case .date_local: return date(isLocal: true)
    case .time_iso8601: return core.clock.timeISO8601
    case .request_time: return seconds(loop.now - startedAt)
    case .request_length: return arena.decimal(request.length + body.receivedCount)
    case .request_id: return makeRequestID()
    case .request_completion: return state == .sending ? Bytes("OK") : Bytes()
    case .bytes_sent: return arena.decimal(stream.sentByteCount)
    case .body_bytes_sent: return arena.decimal(sentBodyCount)
    case .content_length: return field(.contentLength)
    case .content_type: return value(of: .requestField, Bytes("content_type"))
    case .remote_user: return basicUser
    case .connections_active, .connections_reading, .connections_waiting, .connections_writing:
      return connectionsValue(name)
    case .invalid_referer: return invalidReferer
    case .secure_link: return secureLink
    case .secure_link_expires: return secureLinkExpires
    case .uid_got: return receivedUserIDText
    case .uid_set: return givenUserIDText
    case .limit_conn_status: return connectionLimitOutcome.text
    case .limit_req_status: return requestLimitOutcome.text
    case .limit_rate: return arena.decimal(limitRate)
    case .gzip_ratio: return gzipRatio
    case .document_root: return documentRoot
    case .realpath_root: return realPath(documentRoot)
    case .request_filename: return filePath(for: uri, in: location)
    case .request_body: return body.file == nil ? body.memory.map { $0.unread } : nil
    case .request_body_file: return body.file.map { arena.copy($0.path) }
    case .proxy_protocol_addr, .proxy_protocol_port, .proxy_protocol_server_addr,
      .proxy_protocol_server_port:
      return proxyProtocolValue(name)
    case .upstream_cache_status: return cacheStatus.text
    case .upstream_cache_last_modified, .upstream_cache_etag: return storedValidator(name)
    case .proxy_host: return proxyHost
    case .proxy_port: return proxyPort
    case .proxy_add_x_forwarded_for: return forwardedFor
    case .proxy_internal_body_length: return arena.decimal(body.bufferedCount)
    case .upstream_addr, .upstream_status, .upstream_connect_time, .upstream_header_time,
      .upstream_response_time, .upstream_response_length, .upstream_bytes_received,
      .upstream_bytes_sent:
      return upstreamValue(name)
    case .tcpinfo_rtt, .tcpinfo_rttvar, .tcpinfo_snd_cwnd, .tcpinfo_rcv_space: return tcpInfo(name)
    default: return tlsValue(name)
    }
  }

  /// `$document_root`: what `root` or `alias` says.
  private var documentRoot: Bytes {
    let settings = location.settings.core.value
    return absolutePath(evaluate(settings.alias ?? settings.root))
  }

  /// The port that the client asked for, in the request line or in Host.
  private var requestPort: Bytes? {
    guard let colon = host.lastIndex(of: UInt8(ascii: ":")), host.lastIndex(of: UInt8(ascii: "]")) ?? 0 < colon
    else { return nil }
    return nonEmpty(host.dropping(colon + 1))
  }

  /// What a request that was cut short lacks has no value.
  private var protocolName: Bytes {
    if request.isHTTP2 { return Bytes("HTTP/2.0") }
    return request.minorVersion == 0 ? Bytes("HTTP/1.0") : Bytes("HTTP/1.1")
  }

  /// `$http2`: "h2" over TLS, "h2c" without, empty if the request came otherwise.
  private var http2Variable: Bytes {
    guard request.isHTTP2 else { return Bytes() }
    return connection.tls == nil ? Bytes("h2c") : Bytes("h2")
  }

  private func nonEmpty(_ bytes: Bytes) -> Bytes? { bytes.isEmpty ? nil : bytes }

  /// `$host`: of the request line, then of the field, then the server's name; lower case, no port.
  private var hostVariable: Bytes {
    let name = hostWithoutPort
    return name.isEmpty ? site.primaryName : name
  }

  private var remoteAddress: Bytes { text(of: clientAddress) }

  private var binaryAddress: Bytes {
    guard let ip = clientAddress.ip else { return Bytes() }
    let room = arena.allocate(ip.byteCount)
    for index in 0..<ip.byteCount { room[index] = ip.byte(index) }
    return room.readOnly
  }

  /// Bytes of the body that reached the kernel: everything but the head.
  private var sentBodyCount: Int { max(0, min(bodyByteCount, stream.sentByteCount - headByteCount)) }

  private var forwardedFor: Bytes {
    guard let given = value(of: .requestField, Bytes("x_forwarded_for")) else { return remoteAddress }
    return concatenate(given, Bytes(", "), remoteAddress)
  }

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

  private func makeRequestID() -> Bytes {
    if let requestID { return requestID }
    // A request that another one makes goes by its number.
    if let owner {
      let shared = owner.makeRequestID()
      requestID = shared
      return shared
    }
    let room = arena.allocate(32)
    let digits = Bytes("0123456789abcdef")
    var generator = SystemRandomNumberGenerator()
    var position = 0
    for _ in 0..<2 {
      var bits: UInt64 = generator.next()
      for _ in 0..<16 {
        room[position] = digits[Int(bits & 15)]
        bits >>= 4
        position += 1
      }
    }
    requestID = room.readOnly
    return room.readOnly
  }

  /// The user name of Basic authorization (RFC 7617).
  private var basicUser: Bytes? { basicCredentials?.user }

  // --- upstream -----------------------------------------------------------------------------------

  /// One value a try, joined as nginx does: ", " between servers, " : " between groups.
  private func upstreamValue(_ name: Builtin) -> Bytes? {
    var result: Bytes?
    for index in 0..<upstreamLog.count {
      let entry = upstreamLog[index]
      let text = upstreamText(name, entry)
      let separator = entry.beginsGroup ? Bytes(" : ") : Bytes(", ")
      result = result.map { concatenate($0, separator, text) } ?? text
    }
    return result
  }

  private func upstreamText(_ name: Builtin, _ entry: UpstreamLog.Entry) -> Bytes {
    func time(_ value: Milliseconds) -> Bytes { value < 0 ? Bytes("-") : seconds(value) }
    switch name {
    case .upstream_addr:
      return entry.peer.map { arena.copy($0.name) } ?? attempt.groupName ?? Bytes("-")
    case .upstream_status: return entry.status == 0 ? Bytes("-") : arena.decimal(entry.status)
    case .upstream_connect_time: return time(entry.connectTime)
    case .upstream_header_time: return time(entry.headerTime)
    case .upstream_response_time:
      return time(entry.responseTime)
    case .upstream_response_length: return arena.decimal(entry.responseLength)
    case .upstream_bytes_received: return arena.decimal(entry.bytesReceived)
    default: return arena.decimal(entry.bytesSent)
    }
  }

  private func tcpInfo(_ name: Builtin) -> Bytes? {
    var info = tcp_info()
    guard connection.fd >= 0, unsafe linux_tcp_info(connection.fd, &info) >= 0 else { return nil }
    switch name {
    case .tcpinfo_rtt: return arena.decimal(Int(info.tcpi_rtt))
    case .tcpinfo_rttvar: return arena.decimal(Int(info.tcpi_rttvar))
    case .tcpinfo_snd_cwnd: return arena.decimal(Int(info.tcpi_snd_cwnd))
    default: return arena.decimal(Int(info.tcpi_rcv_space))
    }
  }
}

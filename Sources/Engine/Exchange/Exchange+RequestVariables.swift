// Variables that speak of the request, and of what the location makes of it.

import HTTP

extension Exchange {
  /// The value of a variable about the request.
  func value(of name: RequestVariable) -> Bytes? {
    switch name {
    case .args, .query_string: nonEmpty(arguments)
    case .is_args: arguments.isEmpty ? Bytes() : Bytes("?")
    case .uri, .document_uri: uri.isEmpty && requestTarget.isEmpty ? nil : uri
    case .request_uri: nonEmpty(requestTarget)
    case .request: nonEmpty(requestLine)
    // Of what the client asked for: rules for it hold in subrequests as well.
    case .request_method: nonEmpty(root.methodName)
    case .host: hostVariable
    case .request_port: requestPort
    case .is_request_port: requestPort == nil ? Bytes() : Bytes(":")
    case .scheme: connection.tls == nil ? Bytes("http") : Bytes("https")
    case .https: connection.tls == nil ? Bytes() : Bytes("on")
    case .http2: http2Variable
    // As for every request that didn't come by HTTP/3.
    case .http3: Bytes()
    case .server_name: site.primaryName
    case .server_protocol: protocolName
    case .content_length: field(.contentLength) ?? bodyLength
    case .content_type: value(of: .requestField, Bytes("content_type"))
    case .remote_user: basicCredentials.flatMap { nonEmpty($0.user) }
    case .request_length: arena.decimal(headLength + body.receivedCount)
    case .request_id: makeRequestID()
    case .request_body: body.file == nil ? body.memory.map { $0.unread } : nil
    case .request_body_file: body.file.map { arena.copy($0.path) }
    case .document_root: compute(name.rawValue) { documentRoot }
    case .realpath_root: compute(name.rawValue) { documentRoot }.flatMap { realPath($0) }
    case .request_filename: compute(name.rawValue) { filePath(for: uri, in: location) }
    case .invalid_referer: invalidReferer
    case .secure_link: compute(name.rawValue) { secureLink }
    case .secure_link_expires: compute(name.rawValue) { secureLinkExpires }
    case .limit_conn_status: connectionLimitOutcome.text
    case .limit_req_status: requestLimitOutcome.text
    case .uid_got: receivedUserIDText
    case .uid_set: givenUserIDText
    }
  }

  /// `$document_root`: what `root` or `alias` says.
  private var documentRoot: Bytes {
    let settings = location.settings.core.value
    return absolutePath(evaluate(settings.folder))
  }

  /// How long a body is that didn't say so, once that is known.
  private var bodyLength: Bytes? {
    switch body.framing {
    case .length(let length): arena.decimal(length)
    case .chunked where body.phase == .buffered: arena.decimal(body.receivedCount)
    default: nil
    }
  }

  /// Of a head that was refused, what came of it.
  private var headLength: Int { request.length > 0 ? request.length : headBytes.count }

  /// The port that the client asked for, in the request line or in Host.
  private var requestPort: Bytes? {
    guard let colon = host.lastIndex(of: UInt8(ascii: ":")),
      host.lastIndex(of: UInt8(ascii: "]")) ?? 0 < colon
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

  /// `$host`: of the request line, then of the field, then the server's name; lower case, no port.
  private var hostVariable: Bytes {
    let name = hostWithoutPort
    return name.isEmpty ? site.primaryName : name
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
    var generator = SystemRandomNumberGenerator()
    var position = 0
    for _ in 0..<2 {
      var bits: UInt64 = generator.next()
      for _ in 0..<16 {
        room[position] = ASCII.lowerHexDigit(UInt8(bits & 15))
        bits >>= 4
        position += 1
      }
    }
    requestID = room.readOnly
    return room.readOnly
  }
}

// Status lines and reason phrases.
//
// The phrases are nginx's where nginx has one (scripts and monitoring match on them), else those of
// IANA's registry. One table of whole lines: the phrase is cut out of it.

/// Status codes as they are written.
public enum StatusCode {
  /// The reason phrase of a code, empty if it isn't known. A literal, valid for ever.
  public static func reason(_ code: Int) -> Bytes {
    guard let line = statusLine(code) else { return Bytes() }
    return line.slice(13, line.count - 2)
  }

  /// The whole status line with its CR LF, or nil if the code isn't known. A literal.
  public static func statusLine(_ code: Int) -> Bytes? {
    switch code / 100 {
    case 1: return informational(code)
    case 2: return success(code)
    case 3: return redirection(code)
    case 4: return clientError(code)
    case 5: return serverError(code)
    default: return nil
    }
  }

  private static func informational(_ code: Int) -> Bytes? {
    switch code {
    case 100: return Bytes("HTTP/1.1 100 Continue\r\n")
    case 101: return Bytes("HTTP/1.1 101 Switching Protocols\r\n")
    case 102: return Bytes("HTTP/1.1 102 Processing\r\n")
    case 103: return Bytes("HTTP/1.1 103 Early Hints\r\n")
    default: return nil
    }
  }

  private static func success(_ code: Int) -> Bytes? {
    switch code {
    case 200: return Bytes("HTTP/1.1 200 OK\r\n")
    case 201: return Bytes("HTTP/1.1 201 Created\r\n")
    case 202: return Bytes("HTTP/1.1 202 Accepted\r\n")
    case 203: return Bytes("HTTP/1.1 203 Non-Authoritative Information\r\n")
    case 204: return Bytes("HTTP/1.1 204 No Content\r\n")
    case 205: return Bytes("HTTP/1.1 205 Reset Content\r\n")
    case 206: return Bytes("HTTP/1.1 206 Partial Content\r\n")
    case 207: return Bytes("HTTP/1.1 207 Multi-Status\r\n")
    case 208: return Bytes("HTTP/1.1 208 Already Reported\r\n")
    case 226: return Bytes("HTTP/1.1 226 IM Used\r\n")
    default: return nil
    }
  }

  private static func redirection(_ code: Int) -> Bytes? {
    switch code {
    case 300: return Bytes("HTTP/1.1 300 Multiple Choices\r\n")
    case 301: return Bytes("HTTP/1.1 301 Moved Permanently\r\n")
    case 302: return Bytes("HTTP/1.1 302 Moved Temporarily\r\n")
    case 303: return Bytes("HTTP/1.1 303 See Other\r\n")
    case 304: return Bytes("HTTP/1.1 304 Not Modified\r\n")
    case 305: return Bytes("HTTP/1.1 305 Use Proxy\r\n")
    case 307: return Bytes("HTTP/1.1 307 Temporary Redirect\r\n")
    case 308: return Bytes("HTTP/1.1 308 Permanent Redirect\r\n")
    default: return nil
    }
  }

  private static func clientError(_ code: Int) -> Bytes? {
    switch code {
    case 400: return Bytes("HTTP/1.1 400 Bad Request\r\n")
    case 401: return Bytes("HTTP/1.1 401 Unauthorized\r\n")
    case 402: return Bytes("HTTP/1.1 402 Payment Required\r\n")
    case 403: return Bytes("HTTP/1.1 403 Forbidden\r\n")
    case 404: return Bytes("HTTP/1.1 404 Not Found\r\n")
    case 405: return Bytes("HTTP/1.1 405 Not Allowed\r\n")
    case 406: return Bytes("HTTP/1.1 406 Not Acceptable\r\n")
    case 407: return Bytes("HTTP/1.1 407 Proxy Authentication Required\r\n")
    case 408: return Bytes("HTTP/1.1 408 Request Time-out\r\n")
    case 409: return Bytes("HTTP/1.1 409 Conflict\r\n")
    case 410: return Bytes("HTTP/1.1 410 Gone\r\n")
    case 411: return Bytes("HTTP/1.1 411 Length Required\r\n")
    case 412: return Bytes("HTTP/1.1 412 Precondition Failed\r\n")
    case 413: return Bytes("HTTP/1.1 413 Request Entity Too Large\r\n")
    case 414: return Bytes("HTTP/1.1 414 Request-URI Too Large\r\n")
    case 415: return Bytes("HTTP/1.1 415 Unsupported Media Type\r\n")
    case 416: return Bytes("HTTP/1.1 416 Requested Range Not Satisfiable\r\n")
    case 417: return Bytes("HTTP/1.1 417 Expectation Failed\r\n")
    case 418: return Bytes("HTTP/1.1 418 I'm a teapot\r\n")
    case 421: return Bytes("HTTP/1.1 421 Misdirected Request\r\n")
    case 422: return Bytes("HTTP/1.1 422 Unprocessable Content\r\n")
    case 423: return Bytes("HTTP/1.1 423 Locked\r\n")
    case 424: return Bytes("HTTP/1.1 424 Failed Dependency\r\n")
    case 425: return Bytes("HTTP/1.1 425 Too Early\r\n")
    case 426: return Bytes("HTTP/1.1 426 Upgrade Required\r\n")
    case 428: return Bytes("HTTP/1.1 428 Precondition Required\r\n")
    case 429: return Bytes("HTTP/1.1 429 Too Many Requests\r\n")
    case 431: return Bytes("HTTP/1.1 431 Request Header Fields Too Large\r\n")
    case 451: return Bytes("HTTP/1.1 451 Unavailable For Legal Reasons\r\n")
    default: return nil
    }
  }

  private static func serverError(_ code: Int) -> Bytes? {
    switch code {
    case 500: return Bytes("HTTP/1.1 500 Internal Server Error\r\n")
    case 501: return Bytes("HTTP/1.1 501 Not Implemented\r\n")
    case 502: return Bytes("HTTP/1.1 502 Bad Gateway\r\n")
    case 503: return Bytes("HTTP/1.1 503 Service Temporarily Unavailable\r\n")
    case 504: return Bytes("HTTP/1.1 504 Gateway Time-out\r\n")
    case 505: return Bytes("HTTP/1.1 505 HTTP Version Not Supported\r\n")
    case 506: return Bytes("HTTP/1.1 506 Variant Also Negotiates\r\n")
    case 507: return Bytes("HTTP/1.1 507 Insufficient Storage\r\n")
    case 508: return Bytes("HTTP/1.1 508 Loop Detected\r\n")
    case 511: return Bytes("HTTP/1.1 511 Network Authentication Required\r\n")
    default: return nil
    }
  }
}

// An `OutgoingHead` in the form of HTTP/1.1 (RFC 9112 §4), in nginx's order of fields.

import HTTP

/// Writes the head of one response.
struct ResponseHeadWriter: BitwiseCopyable {
  /// Whether the body goes out in chunks.
  let isChunked: Bool
  /// Whether only the end of the connection ends the body.
  let endsByClose: Bool

  init(_ exchange: Exchange) {
    let isOpenEnded =
      exchange.response.contentLength == nil && exchange.response.hasBody
      && !exchange.response.isUpgrade
    let mayChunk =
      exchange.request.minorVersion >= 1
      && exchange.location.settings.core.value.chunkedTransferEncoding
    isChunked = isOpenEnded && mayChunk
    endsByClose = isOpenEnded && !mayChunk
  }

  /// The head in a buffer with room behind it for a small body.
  func write(_ exchange: Exchange, keepsAlive: Bool, pool: BufferPool) -> Buffer {
    write(exchange.response, of: exchange, keepsAlive: keepsAlive, pool: pool)
  }

  private func write(
    _ head: borrowing OutgoingHead, of exchange: Exchange, keepsAlive: Bool, pool: BufferPool
  ) -> Buffer {
    var size = 640 + (head.reason?.count ?? 0) + (head.contentType?.count ?? 0)
    size += (head.server?.count ?? 0) + (head.date?.count ?? 0)
    for field in head.fields { size += field.name.count + field.value.count + 4 }
    let buffer = pool.take(atLeast: size)
    writeStatusLine(head, buffer)
    let server = head.server ?? Bytes("portico")
    if !server.isEmpty { line(Bytes("Server: "), server, buffer) }
    line(Bytes("Date: "), head.date ?? exchange.core.clock.httpDate, buffer)
    if let type = head.contentType, !type.isEmpty { line(Bytes("Content-Type: "), type, buffer) }
    if let length = head.contentLength, head.status != 204, !head.isUpgrade {
      buffer.append(Bytes("Content-Length: "))
      buffer.produced(writeDecimal(length, into: buffer.free))
      buffer.append(Bytes("\r\n"))
    }
    if isChunked { buffer.append(Bytes("Transfer-Encoding: chunked\r\n")) }
    if let modified = head.lastModified, head.first(.lastModified) == nil {
      buffer.append(Bytes("Last-Modified: "))
      HTTPDate.write(modified, into: buffer.free)
      buffer.produced(29)
      buffer.append(Bytes("\r\n"))
    }
    writeConnection(
      keepsAlive, exchange.location.settings.core.value.keepaliveHeaderSeconds, head, buffer)
    for field in head.fields {
      buffer.append(field.name)
      buffer.append(Bytes(": "))
      buffer.append(field.value)
      buffer.append(Bytes("\r\n"))
    }
    if head.acceptsRanges && head.status == 200 { buffer.append(Bytes("Accept-Ranges: bytes\r\n")) }
    buffer.append(Bytes("\r\n"))
    return buffer
  }

  /// The head of an interim response, which has no other fields than these (RFC 9110 §15.2).
  static func interim(_ status: Int, _ fields: [OutgoingField], pool: BufferPool) -> Buffer {
    lines(fields, pool: pool) { buffer in
      if let line = StatusCode.statusLine(status) { return buffer.append(line) }
      buffer.append(Bytes("HTTP/1.1 "))
      buffer.produced(writeDecimal(status, into: buffer.free))
      buffer.append(Bytes(" \r\n"))
    }
  }

  /// The end of a chunked body with fields behind it (RFC 9112 §7.1.2).
  static func trailers(_ fields: [OutgoingField], pool: BufferPool) -> Buffer {
    lines(fields, pool: pool) { $0.append(Bytes("0\r\n")) }
  }

  // Bound: the longest line that stands before fields.
  private static let firstLineLimit = 64

  /// What `writeFirst` writes, fields, and an empty line.
  private static func lines(
    _ fields: [OutgoingField], pool: BufferPool, _ writeFirst: (Buffer) -> Void
  ) -> Buffer {
    var size = firstLineLimit
    for field in fields { size += field.name.count + field.value.count + 4 }
    let buffer = pool.take(atLeast: size)
    writeFirst(buffer)
    for field in fields {
      buffer.append(field.name)
      buffer.append(Bytes(": "))
      buffer.append(field.value)
      buffer.append(Bytes("\r\n"))
    }
    buffer.append(Bytes("\r\n"))
    return buffer
  }

  private func writeStatusLine(_ head: borrowing OutgoingHead, _ buffer: Buffer) {
    if head.reason == nil, let line = StatusCode.statusLine(head.status) {
      buffer.append(line)
      return
    }
    buffer.append(Bytes("HTTP/1.1 "))
    buffer.produced(writeDecimal(head.status, into: buffer.free))
    buffer.append(UInt8(ascii: " "))
    buffer.append(head.reason ?? StatusCode.reason(head.status))
    buffer.append(Bytes("\r\n"))
  }

  private func writeConnection(
    _ keepsAlive: Bool, _ seconds: Int?, _ head: borrowing OutgoingHead, _ buffer: Buffer
  ) {
    if head.isUpgrade {
      buffer.append(Bytes("Connection: upgrade\r\n"))
    } else if !keepsAlive {
      buffer.append(Bytes("Connection: close\r\n"))
    } else {
      buffer.append(Bytes("Connection: keep-alive\r\n"))
      if let seconds {
        buffer.append(Bytes("Keep-Alive: timeout="))
        buffer.produced(writeDecimal(seconds, into: buffer.free))
        buffer.append(Bytes("\r\n"))
      }
    }
  }

  @inline(__always)
  private func line(_ name: Bytes, _ value: Bytes, _ buffer: Buffer) {
    buffer.append(name)
    buffer.append(value)
    buffer.append(Bytes("\r\n"))
  }
}

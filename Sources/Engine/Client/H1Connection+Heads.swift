// Request heads on a client's connection: received into one buffer, parsed where they lie, refused
// or handed to an exchange.

import HTTP

extension H1Connection {
  func receiveHead() {
    // What came behind the request before, or of this one.
    if let input, !input.isEmpty, !takeHead(input) { return }
    while state == .waiting || state == .head {
      let input = roomyInput()
      switch client.transport.receive(into: input.free) {
      case .bytes(let count):
        input.produced(count)
        if !takeHead(input) { return }
      case .wouldBlock:
        if input.isEmpty { giveBackInput() }
        return
      case .end:
        if state == .head {
          exchange?.log(
            .info, "client prematurely closed connection while reading client request headers")
          exchange?.response.status = 400
        }
        return client.close()
      case .failed: return client.close()
      }
    }
  }

  /// Uses what is there of a head. True: more bytes are wanted.
  private func takeHead(_ input: Buffer) -> Bool {
    if state == .waiting && client.takesPreface {
      switch H2Preface(input.unread) {
      case .whole:
        leave(input)
        return false
      case .begun: return true
      case .none: beginHead()
      }
    } else if state == .waiting {
      beginHead()
    }
    return parse(input)
  }

  /// The client speaks HTTP/2: what it sent is not ours.
  private func leave(_ input: Buffer) {
    state = .closed
    self.input = nil
    client.startHTTP2(input.unread)
    loop.pool.giveBack(input)
  }

  /// What came is a line of HTTP/1 as little as HTTP/2's preface; on a connection that could have
  /// begun with either it is taken for the latter (RFC 9113 §3.4).
  private func leaveMalformed(_ exchange: Exchange, _ input: Buffer) -> Bool {
    exchange.headBytes = input.unread
    exchange.response.status = 400
    self.exchange = nil
    exchange.finish(isAnswered: false)
    leave(input)
    return false
  }

  func beginHead() {
    state = .head
    resetForRequest()
    let exchange = client.core.takeExchange(self)
    client.refreshPlan()
    exchange.enter(client.address)
    exchange.countIn()
    parser.limits = exchange.site.settings.headLimits
    loop.setTimer(client.timer, after: exchange.site.settings.headerTimeout, for: client.handle)
    self.exchange = exchange
  }

  /// The input buffer with room for more, grown as far as `large_client_header_buffers` allows.
  func roomyInput() -> Buffer {
    guard let input else {
      let fresh = loop.pool.take(.small)
      self.input = fresh
      return fresh
    }
    if input.room > 0 { return input }
    let grown = loop.pool.take(atLeast: input.capacity * 2)
    grown.append(input.unread)
    loop.pool.giveBack(input)
    self.input = grown
    return grown
  }

  /// Parses what is there. True: more bytes are wanted.
  func parse(_ input: Buffer) -> Bool {
    guard let exchange else { return false }
    switch parser.parse(input.unread, into: &exchange.request) {
    case .incomplete: return true
    case .failed(let error):
      if error == .malformedRequestLine, exchange.request.method == .other, client.takesPreface {
        return leaveMalformed(exchange, input)
      }
      exchange.headBytes = input.unread
      exchange.log(.info, "client sent \(description(of: error, input.unread))")
      reject(error.status)
      return false
    case .complete:
      let length = exchange.request.length
      exchange.headBytes = input.unread.prefix(length)
      input.skip(length)
      accept(exchange)
      return false
    }
  }

  /// What a log says of a head that was refused.
  private func description(of error: HeadError, _ bytes: Bytes) -> String {
    switch error {
    case .requestLineTooLong: return "too long URI"
    case .headTooLong: return "too long header line"
    default: break
    }
    // A handshake record (RFC 8446 §5.1): type 22, version 3.x.
    let isHandshake = bytes.count > 1 && bytes[0] == 22 && bytes[1] == 3 && client.facts.tls == nil
    let reason =
      isHandshake ? "a TLS handshake at a port without \"ssl\"" : error.reason.description
    return "invalid request: \(reason)"
  }

  /// Answers a request that can't be understood; the connection closes behind it.
  func reject(_ status: Int) {
    guard let exchange else { return }
    state = .exchanging
    exchange.keepAlive = false
    client.facts.requestCount += 1
    exchange.reject(status)
    flush()
  }

  /// A sound head: frames the body, decides about keep-alive, lets the exchange begin.
  func accept(_ exchange: Exchange) {
    state = .exchanging
    client.facts.requestCount += 1
    do throws(FramingError) {
      let framing = try exchange.request.framing(exchange.headBytes)
      bodyFraming = framing.body
      switch framing.body {
      case .none: isBodyComplete = true
      case .length(let length):
        bodyRemaining = length
        isBodyComplete = length == 0
      case .chunked, .untilClose:
        decoder = ChunkedDecoder()
        isBodyComplete = false
      }
      exchange.accept(framing)
      wantsContinue = framing.expectsContinue && !isBodyComplete
    } catch {
      exchange.log(.info, "client sent \(error.reason)")
      exchange.keepAlive = false
      exchange.reject(error.status)
      return flush()
    }
    loop.clearTimer(client.timer)
    exchange.begin()
    flush()
  }
}

/// How much of a client's first bytes is HTTP/2's preface (RFC 9113 §3.4).
private enum H2Preface {
  case none, begun, whole

  /// Its first line is enough: no request of HTTP/1 has it. The library checks the rest.
  private static var line: Bytes { Bytes("PRI * HTTP/2.0\r\n") }

  init(_ bytes: Bytes) {
    let count = min(bytes.count, Self.line.count)
    guard bytes.prefix(count) == Self.line.prefix(count) else {
      self = .none
      return
    }
    self = count == Self.line.count ? .whole : .begun
  }
}

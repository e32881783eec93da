// A health check by gRPC: one call of grpc.health.v1.Health/Check, judged by its grpc-status and by
// the status in its message (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
// Bytes in, bytes out, a verdict at the end; HealthProbe moves the bytes.

import HTTP

/// One call under way.
final class GRPCHealthCall {
  private let healthyStatus: Int?
  private let pool = BufferPool()
  private let stream = H2UpstreamStream()
  private let session: H2UpstreamSession?

  // Bound: bytes of message that are looked at; a status takes seven.
  private static let messageLimit = 4 << 10

  /// - Parameters:
  ///   - service: which service is asked for; empty: the server as a whole.
  ///   - healthyStatus: the grpc-status of a server that is well although it can't say so.
  init(service: String, healthyStatus: Int?, host: String, isTLS: Bool) {
    self.healthyStatus = healthyStatus
    session = H2UpstreamSession(pool: pool)
    session?.attach(stream)
    let fields: [(StaticString, String)] = [
      (":method", "POST"), (":scheme", isTLS ? "https" : "http"),
      (":path", "/grpc.health.v1.Health/Check"), (":authority", host),
      ("content-type", "application/grpc"), ("te", "trailers"),
      ("user-agent", "portico-health-check"),
    ]
    var size = 0
    for (name, value) in fields {
      size += name.utf8CodeUnitCount + value.utf8.count + H2FieldBlock.overhead
    }
    let block = Buffer(capacity: size)
    for (name, value) in fields {
      value.withBytes { H2FieldBlock.append(Bytes(name), $0, to: block) }
    }
    _ = session?.submit(stream, block.unread, hasBody: true)
    let message = Self.message(service)
    _ = session?.write(message.unread, to: stream)
    session?.endOutput(stream)
  }

  deinit {
    session?.detach(stream)
    stream.reset(pool)
  }

  /// HealthCheckRequest, with the prefix of gRPC: field 1 is the service.
  private static func message(_ service: String) -> Buffer {
    // Bound: the names that configurations hold; longer ones are cut by nobody's mistake but ours.
    let name = Array(service.utf8.prefix(127))
    let count = name.isEmpty ? 0 : name.count + 2
    let message = Buffer(capacity: 5 + count)
    for byte in [0, 0, 0, 0, UInt8(count)] { message.append(byte) }
    if !name.isEmpty {
      message.append(0x0a)
      message.append(UInt8(name.count))
      for byte in name { message.append(byte) }
    }
    return message
  }

  /// Appends what is to be sent; false if the call can't go on.
  func produce(into buffer: Buffer) -> Bool {
    guard let session, session.produce(into: buffer) else { return false }
    return !session.isOver
  }

  /// Takes bytes of the server. Nil: the answer isn't over.
  func receive(_ bytes: Bytes) -> HealthVerdict? {
    guard let session else { return .undecided("no HTTP/2 session") }
    let isWell = session.receive(bytes)
    if stream.hasEnded { return judge() }
    if let failure = stream.failure { return .failed(Self.text(failure)) }
    if stream.inputByteCount > Self.messageLimit { return .failed("the answer is too long") }
    return isWell ? nil : .failed("the answer is not HTTP/2")
  }

  private static func text(_ failure: H2UpstreamStream.Failure) -> String {
    switch failure {
    case .unprocessed, .refused: "the call was refused"
    case .reset(let code): "the call was reset (\(code))"
    case .malformed: "the answer breaks the rules of HTTP/2"
    case .tooBig: "the head of the answer is too long"
    case .connection: "the connection was lost"
    }
  }

  private func judge() -> HealthVerdict {
    guard stream.head.statusCode == 200 else {
      return .failed("HTTP status \(stream.head.statusCode)")
    }
    guard let status = grpcStatus else { return .failed("the answer has no grpc-status") }
    if status == healthyStatus { return .passed("grpc-status \(status)") }
    if status != 0 { return .failed("grpc-status \(status)") }
    return switch servingStatus {
    case 1: .passed("SERVING")
    case 2: .failed("NOT_SERVING")
    case 3: .failed("SERVICE_UNKNOWN")
    case let other: .failed("service status \(other)")
    }
  }

  /// In the trailers, or in a head that came alone.
  private var grpcStatus: Int? {
    guard let bytes = stream.fieldBytes?.unread else { return nil }
    for field in stream.trailers + stream.head.fields where field.token == .grpcStatus {
      return field.value.of(bytes).decimal
    }
    return nil
  }

  /// HealthCheckResponse: field 1 is the status, 0 if it isn't there.
  private var servingStatus: Int {
    guard let input = stream.takeInput(.max, pool) else { return 0 }
    defer { pool.giveBack(input) }
    return GRPCMessage.firstVarint(input.unread) ?? 0
  }
}

/// The little of protobuf that a health check needs.
enum GRPCMessage {
  /// The value of field 1, a varint, in the message behind gRPC's prefix; nil if it isn't there, or
  /// the message is none.
  static func firstVarint(_ bytes: Bytes) -> Int? {
    guard bytes.count >= 5, bytes[0] == 0 else { return nil }
    var position = 5
    while position < bytes.count {
      guard let key = varint(bytes, &position) else { return nil }
      switch key & 7 {
      case 0:
        guard let value = varint(bytes, &position) else { return nil }
        if key >> 3 == 1 { return value }
      case 1: position += 8
      case 2:
        guard let count = varint(bytes, &position), count <= bytes.count - position else {
          return nil
        }
        position += count
      case 5: position += 4
      default: return nil
      }
    }
    return nil
  }

  private static func varint(_ bytes: Bytes, _ position: inout Int) -> Int? {
    var value = 0
    // Bound: numbers of up to 35 bits.
    for shift in stride(from: 0, to: 35, by: 7) {
      guard position < bytes.count else { return nil }
      let byte = bytes[position]
      position += 1
      value |= Int(byte & 127) << shift
      if byte & 128 == 0 { return value }
    }
    return nil
  }
}

// A response head before it takes the form of a protocol: a status and fields whose bytes live
// until the exchange finishes. HTTP/1 writes it as lines, HTTP/2 as a header block.

import HTTP

/// A field of a response.
struct OutgoingField: BitwiseCopyable {
  var name: Bytes
  var value: Bytes
  var token: FieldName
}

/// The head of the response of an exchange; there is one, and nobody copies it.
struct OutgoingHead: ~Copyable {
  var status = 0
  /// A reason phrase other than the standard one, as an upstream sent it.
  var reason: Bytes?
  /// The number of bytes in the body; nil: unknown before its end.
  var contentLength: Int?
  var contentType: Bytes?
  /// Unix seconds.
  var lastModified: Int?
  /// Whether a body may follow (not for HEAD, 204, 304).
  var hasBody = true
  /// Whether byte ranges of the body make sense.
  var acceptsRanges = false
  /// Whether an upstream judged the request's conditions: what it answered is passed on as it is.
  var isJudged = false
  /// Whether the body's source failed in the middle: what came of it goes out, without a proper
  /// end.
  var isBrokenOff = false
  /// Whether this switches protocols (101).
  var isUpgrade = false
  /// The Date field of the upstream, if it is passed on.
  var date: Bytes?
  var server: Bytes?
  private(set) var fields: [OutgoingField] = []
  /// The fields of an interim response while it is being sent.
  var interim: [OutgoingField] = []
  /// Whether fields follow the body, so that it goes out in chunks.
  var expectsTrailers = false
  /// The fields behind the body; known when it ends.
  var trailers: [OutgoingField] = []

  init() { fields.reserveCapacity(32) }

  mutating func reset() {
    status = 0
    reason = nil
    contentLength = nil
    contentType = nil
    lastModified = nil
    hasBody = true
    acceptsRanges = false
    isJudged = false
    isBrokenOff = false
    isUpgrade = false
    date = nil
    server = nil
    expectsTrailers = false
    // Emptying an array costs a call, whether anything is in it or not.
    if !interim.isEmpty { interim.removeAll(keepingCapacity: true) }
    if !trailers.isEmpty { trailers.removeAll(keepingCapacity: true) }
    if !fields.isEmpty { fields.removeAll(keepingCapacity: true) }
  }

  @inline(__always)
  mutating func add(_ name: Bytes, _ value: Bytes, _ token: FieldName = .other) {
    fields.append(OutgoingField(name: name, value: value, token: token))
  }

  mutating func add(_ field: OutgoingField) { fields.append(field) }

  /// Removes every field of that name.
  mutating func remove(_ token: FieldName) { fields.removeAll { $0.token == token } }

  /// Gives the fields of that name another value; nil removes them.
  mutating func replace(_ token: FieldName, _ value: Bytes?) {
    guard let value else { return remove(token) }
    for index in fields.indices where fields[index].token == token { fields[index].value = value }
  }

  func first(_ token: FieldName) -> Bytes? {
    for field in fields where field.token == token { return field.value }
    return nil
  }
}

// Feeds parsers whole, byte by byte, and split at every point, from memory that moves in between.
//
// Every parser of the module must come to the same end however its input is cut. Each piece lives
// in fresh memory of exactly its size, so that offsets that aren't relative, and reads past the
// end, show.

import HTTP

extension Array where Element == UInt8 {
  /// Calls `body` with a view of the array.
  func withBytes<R>(_ body: (Bytes) -> R) -> R {
    withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return body(Bytes()) }
      return unsafe body(Bytes(base: base, count: buffer.count))
    }
  }
}

extension String {
  /// The UTF-8 of the string; "\u{80}" and above stay one byte each, so that any byte can be
  /// written.
  var latin1: [UInt8] { unicodeScalars.map { UInt8($0.value) } }

  /// Calls `body` with a view of the string.
  func withBytes<R>(_ body: (Bytes) -> R) -> R { latin1.withBytes(body) }
}

/// Calls `body` with `count` writable bytes and gives what it has written of them.
func written(_ capacity: Int, _ body: (MutableBytes) -> Int) -> String {
  var memory = [UInt8](repeating: 0xEE, count: capacity)
  let count = memory.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return 0 }
    return unsafe body(MutableBytes(base: base, count: buffer.count))
  }
  return String(String.UnicodeScalarView(memory.prefix(count).map { Unicode.Scalar($0) }))
}

/// How often a parser sees its input: the lengths at which it is called, the whole length last.
func feedings(_ count: Int) -> [[Int]] {
  var all = [[count], Array(0...count)]
  for split in 1..<max(count, 2) { all.append([min(split, count), count]) }
  return all
}

/// What a request parser made of its input.
struct ParsedRequest: Equatable {
  var progress: HeadProgress
  var head: RequestHead?
  var method = ""
  var target = ""
  var path = ""
  var query: String?
  var host = ""
  var fields: [String] = []

  static func == (left: ParsedRequest, right: ParsedRequest) -> Bool {
    left.progress == right.progress && left.method == right.method && left.target == right.target
      && left.path == right.path && left.query == right.query && left.host == right.host
      && left.fields == right.fields && left.head?.length == right.head?.length
  }
}

/// Parses a request cut at `lengths`.
func parseRequest(
  _ input: [UInt8], at lengths: [Int], limits: HeadLimits = HeadLimits()
) -> ParsedRequest {
  var parser = RequestHeadParser(limits: limits)
  var head = RequestHead()
  for length in lengths {
    let piece = Array(input.prefix(length))
    let parsed: ParsedRequest? = piece.withBytes { bytes in
      let progress = parser.parse(bytes, into: &head)
      guard progress == .complete else {
        return progress == .incomplete && length < input.count
          ? nil : ParsedRequest(progress: progress)
      }
      return ParsedRequest(
        progress: progress, head: head, method: head.methodName.of(bytes).string,
        target: head.target.of(bytes).string, path: head.path.of(bytes).string,
        query: head.query?.of(bytes).string, host: head.authority.of(bytes).string,
        fields: head.fields.map { "\($0.name.of(bytes).string)=\($0.value.of(bytes).string)" })
    }
    if let parsed { return parsed }
  }
  return ParsedRequest(progress: .incomplete)
}

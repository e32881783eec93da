// The path that locations match, files are looked up by and upstreams receive: normalised once.
//
// Escapes are decoded once, "." and ".." are resolved also where they were escaped, slashes are
// merged. What can't be resolved is refused, not repaired: bad escapes, %00, "..": above the root.
// The same inputs give the same path as in nginx. A path is a path only up to "?" or "#", which
// `RequestHead.path` doesn't contain.

/// Why a path is refused: 400.
public enum TargetError: Error, BitwiseCopyable, Equatable, CaseIterable, Sendable {
  /// "%" without two hexadecimal digits (RFC 3986 §2.1).
  case invalidEscape
  /// %00: no file name has it, and C strings end there.
  case nul
  /// ".." with nothing left to go up to (RFC 3986 §5.2.4 would ignore it).
  case aboveRoot
  /// A path that doesn't begin with "/".
  case notAbsolute

  /// The status that a client is answered with.
  public var status: Int { 400 }

  /// What is wrong, for a log.
  public var reason: StaticString {
    switch self {
    case .invalidEscape: "\"%\" without two hexadecimal digits"
    case .nul: "a zero byte in the path"
    case .aboveRoot: "\"..\" that leads above the root"
    case .notAbsolute: "a path that doesn't begin with \"/\""
    }
  }
}

/// Normalising of request paths.
public enum TargetPath {
  /// Whether `normalize` may change (or refuse) the path; if not it can be used as it is.
  public static func needsNormalizing(_ path: Bytes) -> Bool {
    guard path.count > 0, path[0] == 0x2F else { return true }
    var previous: UInt8 = 0
    for index in 0..<path.count {
      let byte = path[index]
      if byte == 0x25 || (previous == 0x2F && (byte == 0x2E || byte == 0x2F)) { return true }
      previous = byte
    }
    return false
  }

  /// Writes the normalised path and gives its length; an empty path is "/".
  ///
  /// - Precondition: `out` has room for `max(path.count, 1)` bytes and doesn't overlap `path`.
  public static func normalize(
    _ path: Bytes, mergeSlashes: Bool, into out: MutableBytes
  ) throws(TargetError) -> Int {
    guard path.count > 0 else {
      out[0] = 0x2F
      return 1
    }
    guard path[0] == 0x2F else { throw .notAbsolute }
    var writer = PathWriter(out: out, mergeSlashes: mergeSlashes)
    var index = 0
    while index < path.count {
      var byte = path[index]
      index += 1
      if byte == 0x25 {
        guard index + 1 < path.count, let high = ASCII.hexValue(path[index]),
          let low = ASCII.hexValue(path[index + 1])
        else { throw .invalidEscape }
        byte = high << 4 | low
        if byte == 0 { throw .nul }
        index += 2
      }
      try writer.append(byte)
    }
    return try writer.finish()
  }
}

/// Writes a path byte by byte and resolves dot segments as they end.
private struct PathWriter {
  let out: MutableBytes
  let mergeSlashes: Bool
  private var count = 0
  private var segment = Segment.ordinary

  /// What the segment being written consists of so far.
  private enum Segment {
    case empty, dot, dotDot, ordinary
  }

  init(out: MutableBytes, mergeSlashes: Bool) {
    self.out = out
    self.mergeSlashes = mergeSlashes
  }

  mutating func append(_ byte: UInt8) throws(TargetError) {
    switch (byte, segment) {
    case (0x2F, .empty) where mergeSlashes:
      return
    case (0x2F, .dot), (0x2F, .dotDot):
      try resolve()
      segment = .empty
      return
    case (0x2F, _): segment = .empty
    case (0x2E, .empty): segment = .dot
    case (0x2E, .dot): segment = .dotDot
    default: segment = .ordinary
    }
    out[count] = byte
    count += 1
  }

  mutating func finish() throws(TargetError) -> Int {
    if segment == .dot || segment == .dotDot { try resolve() }
    return count
  }

  /// Removes the "." or the "x/.." at the end; the slash before it stays.
  private mutating func resolve() throws(TargetError) {
    if segment == .dot {
      count -= 1
      return
    }
    count -= 3
    guard let slash = out.readOnly.prefix(count).lastIndex(of: 0x2F) else { throw .aboveRoot }
    count = slash + 1
  }
}

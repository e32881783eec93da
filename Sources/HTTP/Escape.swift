// Percent-encoding, in the flavours that nginx's variables, redirects and pages use (RFC 3986
// §2.1).
//
// `count` says how many bytes a flavour would escape, so that a caller may size its buffer or,
// mostly, copy as it is; `write` and `unescape` fill a buffer of the caller's. Control characters,
// DEL and everything above 0x7F are escaped in each flavour.

/// Which characters are escaped, beside those that no URI may contain.
public enum EscapeKind: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  /// A path: space " # % < > ? \ ^ ` { | }
  case uri
  /// The arguments of a query: as a path, and & + ;
  case args
  /// One component: everything but letters, digits and - . _ ~
  case uriComponent
  /// A link in a page: space " # % ' < > \ ^ ` { | }
  case html
  /// A Refresh value: space " ' < > \ ^ ` { | ~
  case refresh
}

/// Percent-encoding and decoding.
public enum Escape {
  private static func set(_ kind: EscapeKind) -> CharacterSet {
    switch kind {
    case .uri: return CharacterSet(low: 0xD000_002D_FFFF_FFFF, high: 0xB800_0001_5000_0000)
    case .args: return CharacterSet(low: 0xD800_086D_FFFF_FFFF, high: 0xB800_0001_5000_0000)
    case .uriComponent: return CharacterSet(low: 0xFC00_9FFF_FFFF_FFFF, high: 0xB800_0001_7800_0001)
    case .html: return CharacterSet(low: 0x5000_00AD_FFFF_FFFF, high: 0xB800_0001_5000_0000)
    case .refresh: return CharacterSet(low: 0x5000_0085_FFFF_FFFF, high: 0xD800_0001_5000_0000)
    }
  }

  /// How many of the bytes `write` would escape; its output is longer by twice as many bytes.
  public static func count(_ bytes: Bytes, kind: EscapeKind) -> Int {
    let set = set(kind)
    var count = 0
    for index in 0..<bytes.count where bytes[index] >= 0x80 || set.contains(bytes[index]) {
      count += 1
    }
    return count
  }

  /// Writes the bytes escaped and gives the number of bytes written.
  ///
  /// - Precondition: `out` has room for `bytes.count + 2 * count(bytes, kind)` bytes and doesn't
  ///   overlap `bytes`.
  public static func write(_ bytes: Bytes, kind: EscapeKind, into out: MutableBytes) -> Int {
    let set = set(kind)
    var written = 0
    for index in 0..<bytes.count {
      let byte = bytes[index]
      if byte >= 0x80 || set.contains(byte) {
        out[written] = 0x25
        out[written + 1] = ASCII.hexDigit(byte >> 4)
        out[written + 2] = ASCII.hexDigit(byte & 0xF)
        written += 3
      } else {
        out[written] = byte
        written += 1
      }
    }
    return written
  }
}

extension Escape {
  /// How far decoding goes.
  public enum UnescapeKind: BitwiseCopyable, Sendable {
    /// Everything.
    case all
    /// Up to the first "?", escaped or not; the rest is copied.
    case path
    /// As `path`, and only what a redirect may carry unescaped: printable ASCII above "%".
    case redirect
  }

  /// Decodes once and gives the number of bytes written. As in nginx, a "%" without two digits is
  /// dropped with what was read of it.
  ///
  /// - Precondition: `out` has room for `bytes.count` bytes. It may be the memory of `bytes`.
  public static func unescape(
    _ bytes: Bytes, kind: UnescapeKind = .all, into out: MutableBytes
  ) -> Int {
    var index = 0
    var written = 0
    while index < bytes.count {
      var byte = bytes[index]
      var isEscaped = false
      if byte == 0x25 {
        guard index + 1 < bytes.count else { break }
        guard let high = ASCII.hexValue(bytes[index + 1]) else {
          out[written] = bytes[index + 1]
          written += 1
          index += 2
          continue
        }
        guard index + 2 < bytes.count else { break }
        guard let low = ASCII.hexValue(bytes[index + 2]) else {
          index += 3
          continue
        }
        byte = high << 4 | low
        isEscaped = true
      }
      if isEscaped && kind == .redirect && !(byte > 0x25 && byte < 0x7F) {
        out.copy(bytes.slice(index, index + 3), at: written)
        written += 3
        index += 3
        continue
      }
      out[written] = byte
      written += 1
      index += isEscaped ? 3 : 1
      if byte == 0x3F && kind != .all {
        out.copy(bytes.dropping(index), at: written)
        return written + bytes.count - index
      }
    }
    return written
  }
}

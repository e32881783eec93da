// Reading PEM (RFC 7468): blocks of base 64 between `-----BEGIN X-----` and `-----END X-----`.
//
// As OpenSSL does it, text outside of blocks is skipped. Blocks with headers (old encrypted keys),
// lines longer than 76 digits and anything else unusual are refused, for OpenSSL to judge.

import HTTP

/// One block.
struct PEMBlock {
  enum Label: String, CaseIterable {
    case certificate = "CERTIFICATE"
    case privateKey = "PRIVATE KEY"
    case rsaPrivateKey = "RSA PRIVATE KEY"
    case ecPrivateKey = "EC PRIVATE KEY"
    case ecParameters = "EC PARAMETERS"
  }

  let label: Label
  let der: [UInt8]
}

/// Takes blocks off the front of a PEM file.
struct PEMReader {
  private var rest: Bytes
  /// A block isn't what we read, or has a label that we don't know.
  private(set) var isRefused = false

  init(_ bytes: Bytes) { rest = bytes }

  /// The next block; nil at the end, or when `isRefused`.
  mutating func next() -> PEMBlock? {
    while !rest.isEmpty {
      let line = nextLine()
      guard line.hasPrefix(Bytes("-----BEGIN")) else { continue }
      guard let label = Self.label(line, "-----BEGIN "), let der = body(label) else {
        isRefused = true
        return nil
      }
      return PEMBlock(label: label, der: der)
    }
    return nil
  }

  /// The label of a first or last line; nil if that isn't one with a label that we know.
  private static func label(_ line: Bytes, _ opening: StaticString) -> PEMBlock.Label? {
    let (opening, closing) = (Bytes(opening), Bytes("-----"))
    guard line.count > opening.count + closing.count, line.hasPrefix(opening),
      line.hasSuffix(closing)
    else { return nil }
    return PEMBlock.Label(rawValue: line.slice(opening.count, line.count - closing.count).string)
  }

  /// The lines up to the end of the block, decoded.
  private mutating func body(_ label: PEMBlock.Label) -> [UInt8]? {
    var digits: [UInt8] = []
    while !rest.isEmpty {
      let line = nextLine()
      if line.hasPrefix(Bytes("-----END")) {
        return Self.label(line, "-----END ") == label ? Self.decode(digits) : nil
      }
      guard line.count <= 76 else { return nil }
      unsafe digits.append(
        contentsOf: UnsafeBufferPointer(start: line.unsafeBase, count: line.count))
    }
    return nil
  }

  private static func decode(_ digits: [UInt8]) -> [UInt8]? {
    guard !digits.isEmpty, digits.count % 4 == 0 else { return nil }
    var isDecoded = true
    let der = unsafe [UInt8](unsafeUninitializedCapacity: digits.count / 4 * 3) { memory, count in
      let output = unsafe MutableBytes(base: memory.baseAddress!, count: memory.count)
      if let length = digits.withBytes({ Base64.decode($0, into: output) }) {
        count = length
      } else {
        isDecoded = false
      }
    }
    return isDecoded ? der : nil
  }

  /// The next line, without its end and the blanks before that.
  private mutating func nextLine() -> Bytes {
    let length = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.count
    var end = length
    while end > 0 && rest[end - 1] <= 0x20 { end -= 1 }
    defer { rest = rest.dropping(min(length + 1, rest.count)) }
    return rest.prefix(end)
  }
}

// Where things stand in the files that a configuration is made of.
//
// The parser registers each file once, in order of first reading; words and directives then carry a
// `Position`, eight bytes, from which line and column are computed only when a diagnostic is shown.
// Columns count Unicode scalars, as editors do; lines and columns begin at 1.

/// A place in one of the files of a `SourceMap`.
public struct Position: Sendable, BitwiseCopyable, Hashable {
  /// The index of the file in `SourceMap.files`.
  public var file: Int32
  /// The offset in that file, in bytes.
  public var offset: UInt32

  public init(file: Int32, offset: UInt32) {
    self.file = file
    self.offset = offset
  }
}

/// One file that was read, or one `-g` option.
public struct SourceFile: Sendable {
  /// What the bytes are, and so whether `-T` shows them.
  public enum Kind: Sendable {
    /// A configuration file: the main one or an included one.
    case configuration
    /// The argument of a `-g` option.
    case commandLine
    /// A file named by `env_file`; it may hold secrets, so nothing ever prints it whole.
    case environment
  }

  /// The path as diagnostics show it.
  public let path: String
  /// The contents.
  public let bytes: [UInt8]
  /// What the bytes are.
  public let kind: Kind
  /// The offset of each line's first byte; the first is 0.
  public let lineStarts: [UInt32]

  public init(path: String, bytes: [UInt8], kind: Kind = .configuration) {
    self.path = path
    self.bytes = bytes
    self.kind = kind
    var starts: [UInt32] = [0]
    starts.reserveCapacity(bytes.count / 24)
    for index in bytes.indices where bytes[index] == ASCII.lineFeed {
      starts.append(UInt32(index + 1))
    }
    lineStarts = starts
  }

  /// The index in `lineStarts` of the line that holds the byte at `offset`.
  func lineIndex(at offset: Int) -> Int {
    var low = 0
    var high = lineStarts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if Int(lineStarts[middle]) <= offset { low = middle } else { high = middle }
    }
    return low
  }

  /// The bytes of a line, without its line end.
  func range(ofLine index: Int) -> Range<Int> {
    let start = Int(lineStarts[index])
    var end = bytes.count
    if index + 1 < lineStarts.count { end = Int(lineStarts[index + 1]) - 1 }
    if end > start, bytes[end - 1] == ASCII.carriageReturn { end -= 1 }
    return start..<end
  }
}

/// All files that a configuration was read from.
public struct SourceMap: Sendable {
  /// The files, in order of first reading.
  public private(set) var files: [SourceFile] = []

  public init() {}

  /// Registers a file; the result is its index, for `Position.file`.
  public mutating func add(_ file: SourceFile) -> Int32 {
    files.append(file)
    return Int32(files.count - 1)
  }

  /// The path, line and column of a position. Takes time logarithmic in the number of lines.
  public func location(_ position: Position) -> (path: String, line: Int, column: Int) {
    guard let (file, offset) = resolve(position) else { return ("configuration", 1, 1) }
    let line = file.lineIndex(at: offset)
    let start = Int(file.lineStarts[line])
    return (file.path, line + 1, scalarCount(file.bytes, start..<offset) + 1)
  }

  /// The line that a position is on, without its line end.
  public func lineText(_ position: Position) -> String {
    guard let (file, offset) = resolve(position) else { return "" }
    let range = file.range(ofLine: file.lineIndex(at: offset))
    return String(decoding: file.bytes[range], as: UTF8.self)
  }

  /// The file of a position, and its offset clamped to the file's end.
  func resolve(_ position: Position) -> (file: SourceFile, offset: Int)? {
    guard files.indices.contains(Int(position.file)) else { return nil }
    let file = files[Int(position.file)]
    return (file, min(Int(position.offset), file.bytes.count))
  }
}

/// How many Unicode scalars begin in a range of UTF-8 bytes.
func scalarCount(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
  var count = 0
  for index in range where bytes[index] & 0xC0 != 0x80 { count += 1 }
  return count
}

/// The bytes that the grammar gives a meaning to.
enum ASCII {
  static let tab = UInt8(ascii: "\t")
  static let lineFeed = UInt8(ascii: "\n")
  static let carriageReturn = UInt8(ascii: "\r")
  static let space = UInt8(ascii: " ")
  static let doubleQuote = UInt8(ascii: "\"")
  static let singleQuote = UInt8(ascii: "'")
  static let numberSign = UInt8(ascii: "#")
  static let dollar = UInt8(ascii: "$")
  static let closeParenthesis = UInt8(ascii: ")")
  static let semicolon = UInt8(ascii: ";")
  static let backslash = UInt8(ascii: "\\")
  static let openBrace = UInt8(ascii: "{")
  static let closeBrace = UInt8(ascii: "}")

  /// Whether a byte separates words.
  @inline(__always)
  static func isBlank(_ byte: UInt8) -> Bool {
    byte == space || byte == lineFeed || byte == tab || byte == carriageReturn
  }

  /// Whether a byte may stand in the name of a variable.
  static func isName(_ byte: UInt8) -> Bool {
    isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: "_")
  }

  static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  static func isLetter(_ byte: UInt8) -> Bool {
    let lower = byte | 0x20
    return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
  }
}

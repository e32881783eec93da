// A command of server-side includes as text: `name parameter="value" …`
// (https://nginx.org/en/docs/http/ngx_http_ssi_module.html#commands).

import HTTP

/// A command that was taken apart.
struct PageCommand {
  let name: String
  private let parameters: [(name: String, value: [UInt8])]

  /// What is wrong with a command, for the error log.
  struct Mistake: Error { let text: String }

  /// Takes what stands between `<!--#` and `-->` apart.
  ///
  /// - Throws: if it isn't of the form above, or a value is longer than `valueLength` bytes.
  init(_ text: [UInt8], valueLength: Int) throws(Mistake) {
    var rest = text[...]
    name = Self.takeName(&rest)
    if name.isEmpty { throw Mistake(text: "a command without a name") }
    var parameters: [(name: String, value: [UInt8])] = []
    while true {
      let key = Self.takeName(&rest)
      if key.isEmpty {
        if rest.isEmpty { break }
        throw Mistake(
          text: "unexpected \"\(Character(UnicodeScalar(rest.first!)))\" in \"\(name)\"")
      }
      Self.skipSpace(&rest)
      guard rest.first == UInt8(ascii: "=") else {
        throw Mistake(text: "\"\(key)\" of \"\(name)\" has no value")
      }
      rest.removeFirst()
      let value = try Self.takeValue(&rest, key)
      if value.count > valueLength {
        throw Mistake(
          text: "the value of \"\(key)\" of \"\(name)\" is longer than ssi_value_length")
      }
      parameters.append((key, value))
    }
    self.parameters = parameters
  }

  /// The value of a parameter.
  subscript(key: String) -> [UInt8]? { parameters.first { $0.name == key }?.value }

  /// The first parameter that isn't one of `known`.
  func unknown(_ known: [String]) -> String? {
    parameters.first { !known.contains($0.name) }?.name
  }

  /// The name of the command in `text`, which may be no proper one.
  static func name(of text: [UInt8]) -> String {
    var rest = text[...]
    return takeName(&rest)
  }

  private static func skipSpace(_ rest: inout ArraySlice<UInt8>) {
    rest = rest.drop { $0 == 32 || (9...13).contains($0) }
  }

  private static func takeName(_ rest: inout ArraySlice<UInt8>) -> String {
    skipSpace(&rest)
    let name = rest.prefix { isNameByte($0) }
    rest = rest.dropFirst(name.count)
    return String(decoding: name, as: UTF8.self).lowercased()
  }

  static func isNameByte(_ byte: UInt8) -> Bool {
    ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == UInt8(ascii: "_")
  }

  /// A value in quotes; a backslash takes the meaning from a quote or a backslash.
  private static func takeValue(
    _ rest: inout ArraySlice<UInt8>, _ key: String
  ) throws(Mistake) -> [UInt8] {
    skipSpace(&rest)
    guard let quote = rest.popFirst(), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'")
    else { throw Mistake(text: "the value of \"\(key)\" is not in quotes") }
    var value: [UInt8] = []
    while let byte = rest.popFirst() {
      if byte == quote { return value }
      if byte == UInt8(ascii: "\\"), let next = rest.first,
        next == UInt8(ascii: "\"") || next == UInt8(ascii: "'") || next == byte
      {
        rest.removeFirst()
        value.append(next)
      } else {
        value.append(byte)
      }
    }
    throw Mistake(text: "the value of \"\(key)\" has no end")
  }
}

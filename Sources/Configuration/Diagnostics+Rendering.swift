// How diagnostics look: on a terminal with the line and a caret, in the error log on one line.
//
//   conf/shop.conf:12:5: error: "proxy_pas" is not a directive here; did you mean "proxy_pass"?
//       proxy_pas http://app;
//       ^~~~~~~~~
//
// Whatever comes from a file is made printable first: a configuration must not drive a terminal.

extension Diagnostics {
  /// Everything that was collected, in the order of the files and of the places in them, each with
  /// its line, a caret and its notes. Ends with a line feed unless there is nothing.
  public func render(_ sources: SourceMap) -> String {
    var output = ""
    for diagnostic in sorted() { output += diagnostic.render(sources) }
    if let remark = droppedRemark { output += remark + "\n" }
    return output
  }

  /// The same for the error log: one line each, without source lines.
  public func compactLines(_ sources: SourceMap) -> [String] {
    var lines = sorted().map { $0.compact(sources) }
    if let remark = droppedRemark { lines.append(remark) }
    return lines
  }

  private var droppedRemark: String? {
    droppedCount == 0 ? nil : "and \(droppedCount) more"
  }

  /// In the order of files and places; equal places, and those without, stay as they were found.
  private func sorted() -> [Diagnostic] {
    all.enumerated().sorted { left, right in
      let leftKey = left.element.sortKey
      let rightKey = right.element.sortKey
      return leftKey == rightKey ? left.offset < right.offset : leftKey < rightKey
    }.map(\.element)
  }
}

extension Diagnostic {
  /// The long form: `path:line:column: error: message`, the line, the caret line, the notes.
  public func render(_ sources: SourceMap) -> String {
    var output = entry(label: severity.label, message, (position, length), sources)
    for note in notes {
      output += entry(label: "note", note.message, (note.position, note.length), sources)
    }
    return output
  }

  /// The short form: `path:line:column: message`, notes without a place of their own in brackets.
  public func compact(_ sources: SourceMap) -> String {
    var output = ""
    if let position {
      let (path, line, column) = sources.location(position)
      output = "\(path):\(line):\(column): "
    }
    if severity == .warning { output += "warning: " }
    output += message
    for note in notes where note.position == nil { output += " (\(note.message))" }
    return output
  }

  fileprivate var sortKey: Int {
    guard let position else { return -1 }
    return Int(position.file) << 32 | Int(position.offset)
  }

  private func entry(
    label: String, _ message: String, _ place: (position: Position?, length: Int),
    _ sources: SourceMap
  ) -> String {
    guard let position = place.position else { return "\(label): \(message)\n" }
    let (path, line, column) = sources.location(position)
    var output = "\(path):\(line):\(column): \(label): \(message)\n"
    if let excerpt = Excerpt(position, length: place.length, sources) {
      output += excerpt.line + "\n" + excerpt.carets + "\n"
    }
    return output
  }
}

extension Diagnostic.Severity {
  fileprivate var label: String {
    switch self {
    case .error: "error"
    case .warning: "warning"
    }
  }
}

/// A line of the source and the carets below it.
private struct Excerpt {
  // Bound: bytes of a line that are shown around the place; a configuration may be one long line.
  static let bytesBefore = 120
  static let bytesAfter = 80

  var line = ""
  var carets = ""

  init?(_ position: Position, length: Int, _ sources: SourceMap) {
    guard let (file, offset) = sources.resolve(position), file.kind != .environment else {
      return nil
    }
    let whole = file.range(ofLine: file.lineIndex(at: offset))
    let place = min(offset, whole.upperBound)
    var start = whole.lowerBound
    var end = whole.upperBound
    if place - start > Excerpt.bytesBefore { start = place - Excerpt.bytesBefore }
    if end - place > Excerpt.bytesAfter { end = place + Excerpt.bytesAfter }
    while start > whole.lowerBound, file.bytes[start] & 0xC0 == 0x80 { start -= 1 }
    while end < whole.upperBound, file.bytes[end] & 0xC0 == 0x80 { end += 1 }
    if start > whole.lowerBound { append("…") }
    line += printable(file.bytes[start..<end])
    if end < whole.upperBound { line += "…" }
    for scalar in String(decoding: file.bytes[start..<place], as: UTF8.self).unicodeScalars {
      carets.unicodeScalars.append(scalar == "\t" ? "\t" : " ")
    }
    let underlined = scalarCount(file.bytes, place..<min(place + max(length, 1), end))
    carets += "^" + String(repeating: "~", count: max(underlined, 1) - 1)
  }

  private mutating func append(_ mark: String) {
    line += mark
    carets += " "
  }
}

/// Bytes as text without control characters, except tabs.
private func printable(_ bytes: ArraySlice<UInt8>) -> String {
  var output = ""
  for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
    let isControl =
      scalar.properties.generalCategory == .control
      || scalar.properties.generalCategory == .format
    output.unicodeScalars.append(isControl && scalar != "\t" ? "?" : scalar)
  }
  return output
}

/// A word of the user's in double quotes, for a message: control characters escaped, long ones cut.
public func quoted(_ text: String) -> String {
  // Bound: a message stays readable when the word is a page of text.
  let limit = 100
  var output = "\""
  var count = 0
  for scalar in text.unicodeScalars {
    if count == limit {
      output += "…"
      break
    }
    count += 1
    switch scalar {
    case "\n": output += "\\n"
    case "\r": output += "\\r"
    case "\t": output += "\\t"
    default:
      let category = scalar.properties.generalCategory
      let isPrintable = category != .control && category != .format
      output.unicodeScalars.append(isPrintable ? scalar : "?")
    }
  }
  return output + "\""
}

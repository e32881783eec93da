// Arguments of directives as values, with refusals that quote the word and say what is allowed.

import Configuration

extension Directive {
  /// Argument `index` as text.
  func text(_ index: Int) -> String { arguments[index].text }

  func flag(_ index: Int) throws(Refusal) -> Bool { try flag(text(index), index) }

  func flag(_ word: String, _ index: Int) throws(Refusal) -> Bool {
    switch word.lowercased() {
    case "on": return true
    case "off": return false
    default:
      throw Refusal(
        "\"\(subject(word, index))\" must be \"on\" or \"off\", not \"\(word)\"", argument: index)
    }
  }

  /// Milliseconds.
  func time(_ index: Int) throws(Refusal) -> Int { try time(text(index), index) }

  func time(_ word: String, _ index: Int) throws(Refusal) -> Int {
    try value(word, index, Value.milliseconds)
  }

  /// Whole seconds, up to years.
  func seconds(_ word: String, _ index: Int) throws(Refusal) -> Int {
    try value(word, index, Value.seconds)
  }

  /// Milliseconds of a time that nginx counts in seconds, up to years; parts of seconds are taken
  /// too.
  func longTime(_ word: String, _ index: Int) throws(Refusal) -> Int {
    if let seconds = try? Value.seconds(word, of: name.text), seconds <= Int.max / 1000 {
      return seconds * 1000
    }
    return try time(word, index)
  }

  /// Bytes, `limit` at most.
  func size(_ index: Int, limit: Int = .max) throws(Refusal) -> Int {
    let size = try size(text(index), index)
    if size <= limit { return size }
    throw Refusal(
      "\"\(name.text)\" takes \(limit >> 20)m at most, not \"\(text(index))\"", argument: index)
  }

  func size(_ word: String, _ index: Int) throws(Refusal) -> Int {
    try value(word, index, Value.size)
  }

  private func value(
    _ word: String, _ index: Int, _ read: (String, String) throws(ValueError) -> Int
  ) throws(Refusal) -> Int {
    do throws(ValueError) {
      return try read(word, subject(word, index))
    } catch {
      throw Refusal(error.message, argument: index)
    }
  }

  func number(_ index: Int, _ range: ClosedRange<Int>) throws(Refusal) -> Int {
    try number(text(index), index, range)
  }

  func number(_ word: String, _ index: Int, _ range: ClosedRange<Int>) throws(Refusal) -> Int {
    guard let value = Int(word), range.contains(value), !word.hasPrefix("+") else {
      let allowed =
        range.upperBound == .max
        ? "a whole number from \(range.lowerBound)"
        : "between \(range.lowerBound) and \(range.upperBound)"
      throw Refusal(
        "\"\(subject(word, index))\" must be \(allowed), not \"\(word)\"", argument: index)
    }
    return value
  }

  func choice<Choice: RawRepresentable & CaseIterable>(_ index: Int) throws(Refusal) -> Choice
  where Choice.RawValue == String {
    let word = text(index).lowercased()
    if let choice = Choice.allCases.first(where: { $0.rawValue.lowercased() == word }) {
      return choice
    }
    let allowed = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
    throw Refusal(
      "\"\(name.text)\" must be one of \(allowed), not \"\(text(index))\"", argument: index)
  }

  /// What all arguments together stand for: each is a word of `known`, whose case doesn't count.
  func union<Flags: SetAlgebra>(_ known: [(String, Flags)]) throws(Refusal) -> Flags {
    var flags = Flags()
    for index in arguments.indices {
      let word = text(index).lowercased()
      guard let (_, flag) = known.first(where: { $0.0 == word }) else {
        throw unknownParameter(index, known.map(\.0))
      }
      flags.formUnion(flag)
    }
    return flags
  }

  /// What has the value `word`: the parameter that argument `index` is, or the directive.
  private func subject(_ word: String, _ index: Int) -> String {
    let text = arguments[index].text
    guard text.count > word.count + 1, text.hasSuffix("=" + word) else { return name.text }
    return String(text.dropLast(word.count + 1))
  }

  /// The value of a parameter `key=value`, or nil if argument `index` is not that parameter.
  func parameter(_ key: String, _ index: Int) -> String? {
    let word = text(index)
    guard word.hasPrefix(key + "=") else { return nil }
    return String(word.dropFirst(key.count + 1))
  }

  /// Refuses argument `index` as a parameter nobody knows.
  func unknownParameter(_ index: Int, _ allowed: [String]) -> Refusal {
    let word = text(index)
    let key = String(word.prefix { $0 != "=" })
    var message = "\"\(name.text)\" has no parameter \"\(word)\""
    if let nearest = nearestName(to: key, among: allowed.map { String($0.prefix { $0 != "=" }) }) {
      message += "; did you mean \"\(nearest)\"?"
    } else {
      message += "; it knows \(allowed.joined(separator: ", "))"
    }
    return Refusal(message, argument: index)
  }
}

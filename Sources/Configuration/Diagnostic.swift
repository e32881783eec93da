// Errors and warnings about a configuration, and their collector.
//
// The parser and the rows in Engine add to one `Diagnostics`; nobody stops at the first error. The
// collector keeps the same complaint about the same place once (a file may be included a hundred
// times) and a bounded number in all.

/// One error or warning.
public struct Diagnostic: Error, Sendable {
  public enum Severity: Sendable {
    case error
    case warning
  }

  /// A remark that belongs to a diagnostic, with its own place when it has one.
  public struct Note: Sendable, Hashable {
    public var message: String
    public var position: Position?
    /// How many bytes of the source the caret line underlines.
    public var length: Int

    public init(_ message: String, position: Position? = nil, length: Int = 1) {
      self.message = message
      self.position = position
      self.length = length
    }

    /// A remark about a word.
    public init(_ message: String, at word: Word) {
      self.init(message, position: word.position, length: word.length)
    }
  }

  public var severity: Severity
  /// What is wrong and what is allowed; a lower-case clause without a full stop.
  public var message: String
  /// nil when it concerns no place in a file, such as a main file that can't be read.
  public var position: Position?
  /// How many bytes of the source the caret line underlines.
  public var length: Int
  public var notes: [Note]

  public init(
    _ severity: Severity, _ message: String, position: Position?, length: Int = 1,
    notes: [Note] = []
  ) {
    self.severity = severity
    self.message = message
    self.position = position
    self.length = length
    self.notes = notes
  }

  /// An error about a word.
  public init(error message: String, at word: Word, notes: [Note] = []) {
    self.init(.error, message, position: word.position, length: word.length, notes: notes)
  }
}

/// Collects what is wrong with a configuration.
public struct Diagnostics: Sendable {
  /// Bound: a file of nothing but mistakes must not cost memory and pages of output without end.
  public static let limit = 1000

  /// What was kept, in the order it was found.
  public private(set) var all: [Diagnostic] = []
  /// How many were found beyond the limit.
  public private(set) var droppedCount = 0
  /// Whether any was an error, kept or not.
  public private(set) var hasErrors = false
  private var seen: Set<Key> = []

  private struct Key: Hashable {
    var message: String
    var position: Position?
  }

  public init() {}

  /// Adds one, unless the same was said about the same place.
  public mutating func add(_ diagnostic: Diagnostic) {
    if diagnostic.severity == .error { hasErrors = true }
    guard all.count < Diagnostics.limit else {
      droppedCount += 1
      return
    }
    let key = Key(message: diagnostic.message, position: diagnostic.position)
    if seen.insert(key).inserted { all.append(diagnostic) }
  }

  /// Adds an error about a word, or about no place in particular.
  public mutating func error(
    _ message: String, at word: Word?, notes: [Diagnostic.Note] = []
  ) {
    add(
      Diagnostic(
        .error, message, position: word?.position, length: word?.length ?? 1, notes: notes))
  }

  /// Adds an error about a place that isn't a word, such as a brace.
  public mutating func error(
    _ message: String, at position: Position, length: Int = 1, notes: [Diagnostic.Note] = []
  ) {
    add(Diagnostic(.error, message, position: position, length: length, notes: notes))
  }

  /// Adds a warning about a word, or about no place in particular.
  public mutating func warn(
    _ message: String, at word: Word?, notes: [Diagnostic.Note] = []
  ) {
    add(
      Diagnostic(
        .warning, message, position: word?.position, length: word?.length ?? 1, notes: notes))
  }
}

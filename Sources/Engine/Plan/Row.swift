// Directive rows: one line a directive. A row names the directive, where it may stand, how many
// arguments it takes and which setting it writes; inheritance, duplicates, diagnostics and the
// reference in docs/directives.md follow from that.
//
// Rows stand with the feature that they configure (`Name+Directives.swift`); `Row.all` joins them.

import Configuration

/// Where a directive may stand.
struct Contexts: OptionSet, Hashable {
  let rawValue: Int
  static let main = Contexts(rawValue: 1)
  static let events = Contexts(rawValue: 2)
  static let http = Contexts(rawValue: 4)
  static let server = Contexts(rawValue: 8)
  static let location = Contexts(rawValue: 16)
  /// `if` inside `server`.
  static let serverIf = Contexts(rawValue: 32)
  /// `if` inside `location`.
  static let locationIf = Contexts(rawValue: 64)
  static let upstream = Contexts(rawValue: 128)
  static let limitExcept = Contexts(rawValue: 256)

  static let httpServer: Contexts = [.http, .server]
  static let httpServerLocation: Contexts = [.http, .server, .location]
  static let anyHTTP: Contexts = [.http, .server, .location, .locationIf]
  /// Where what decides about admission stands.
  static let admission: Contexts = [.http, .server, .location, .limitExcept]
  static let rewrite: Contexts = [.server, .location, .serverIf, .locationIf]

  /// nginx's names, for diagnostics and the reference.
  var names: [String] {
    let all: [(Contexts, String)] = [
      (.main, "main"), (.events, "events"), (.http, "http"), (.server, "server"),
      (.location, "location"), (.serverIf, "if in server"), (.locationIf, "if in location"),
      (.upstream, "upstream"), (.limitExcept, "limit_except"),
    ]
    return all.filter { contains($0.0) }.map(\.1)
  }
}

/// Why a directive is refused.
struct Refusal: Error {
  let message: String
  /// The argument to point at; nil: the directive's name.
  var argument: Int?

  /// Follows from another mistake, which was reported: nothing more is to be said.
  static let alreadySaid = Refusal("")
  var isAlreadySaid: Bool { message.isEmpty }

  init(_ message: String, argument: Int? = nil) {
    self.message = message
    self.argument = argument
  }
}

/// One directive: its form and what it sets. A class, because each use of a directive passes its
/// row around.
final class Row: @unchecked Sendable {
  /// When a directive of a block takes effect, relative to the others of that block.
  enum Stage: Int, CaseIterable {
    /// What others refer to by name: maps, formats, upstreams.
    case definition
    /// What nested blocks inherit.
    case setting
    /// Rewrite directives, in the order in which they stand.
    case program
    /// Blocks that inherit.
    case block
  }

  typealias Apply = (Scope, Directive) throws(Refusal) -> Void

  let name: String
  let contexts: Contexts
  let arguments: ClosedRange<Int>
  private(set) var isBlock = false
  /// A block that may stand once in its parent.
  private var isOnlyBlock = false
  /// Several of them in one block add up (or the feature says what happens).
  private(set) var isRepeatable = false
  /// `TLSSettings` keep where it stands: what is wrong with it shows when TLS is set up.
  private(set) var keepsWord = false
  private(set) var stage = Stage.setting
  /// The default, as the reference shows it.
  let standard: String?
  let summary: String
  let apply: Apply

  init(
    _ name: String, _ contexts: Contexts, _ arguments: ClosedRange<Int>, _ summary: String,
    standard: String? = nil, apply: @escaping Apply
  ) {
    self.name = name
    self.contexts = contexts
    self.arguments = arguments
    self.summary = summary
    self.standard = standard
    self.apply = apply
  }

  /// Whether it has no block and no upper bound of its arguments.
  var takesAnyNumber: Bool { arguments.upperBound >= 1000 && !isBlock }

  /// Whether a second one in the same block is an error.
  var isUnique: Bool { isBlock ? isOnlyBlock : !isRepeatable }

  // For the tables of rows, while they are made.

  /// Allows the row several times in a block.
  func repeatable() -> Row {
    isRepeatable = true
    return self
  }

  /// Has `TLSSettings` keep the directive's argument.
  func keepingWord() -> Row {
    keepsWord = true
    return self
  }

  /// Moves the row to another stage.
  func at(_ stage: Stage) -> Row {
    self.stage = stage
    return self
  }

  /// Gives the row a block; `once`: a second one in the same block is an error.
  func block(once: Bool = false) -> Row {
    isBlock = true
    isOnlyBlock = once
    return self
  }
}

// --- rows that write one value -------------------------------------------------------------------

extension Row {
  /// `on` or `off`.
  static func flag(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Bool>,
    _ standard: String, _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = try directive.flag(0)
    }
  }

  /// A span of time, in milliseconds.
  static func time(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Int>,
    _ standard: String, _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = try directive.time(0)
    }
  }

  /// A number of bytes.
  static func size(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Int>,
    _ standard: String, _ summary: String, limit: Int = .max
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = try directive.size(0, limit: limit)
    }
  }

  /// A whole number.
  static func number(
    _ name: String, _ contexts: Contexts, _ range: ClosedRange<Int>,
    _ path: ReferenceWritableKeyPath<Scope, Int>, _ standard: String, _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = try directive.number(0, range)
    }
  }

  /// One of a few words.
  static func choice<Choice: RawRepresentable & CaseIterable>(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Choice>,
    _ standard: String, _ summary: String
  ) -> Row where Choice.RawValue == String {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = try directive.choice(0)
    }
  }

  /// Any word.
  static func text(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, String>,
    _ standard: String, _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: standard) { scope, directive throws(Refusal) in
      scope[keyPath: path] = directive.arguments[0].text
    }
  }

  /// A file that the configuration names; the word is kept, for what is found wrong in the file.
  static func file(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Word?>,
    _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: "—") { scope, directive throws(Refusal) in
      try refuseVariables(directive)
      scope[keyPath: path] = directive.text(0).isEmpty ? nil : directive.arguments[0]
    }
  }

  /// A word with variables.
  static func template(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Template?>,
    _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: "—") { scope, directive throws(Refusal) in
      scope[keyPath: path] = try scope.template(directive, 0)
    }
  }

  /// What a directive without effect takes: a mistake in it would be one in nginx.
  enum Idle {
    case flag, number, size, sizeOrOff, time
    /// A number and a size.
    case buffers
    /// One of these, or what begins with one that ends in "=".
    case words([String])
    /// So many words that nobody looks at.
    case anything(ClosedRange<Int>)

    fileprivate var count: ClosedRange<Int> {
      switch self {
      case .buffers: 2...2
      case .anything(let count): count
      default: 1...1
      }
    }

    fileprivate func check(_ directive: Directive) throws(Refusal) {
      switch self {
      case .flag: _ = try directive.flag(0)
      case .number: _ = try directive.number(0, 0...Int.max)
      case .size: _ = try directive.size(0)
      case .sizeOrOff: if directive.text(0) != "off" { _ = try directive.size(0) }
      case .time: _ = try directive.time(0)
      case .buffers: _ = (try directive.number(0, 1...Int.max), try directive.size(1))
      case .words(let all):
        let word = directive.text(0)
        if !all.contains(where: { $0 == word || $0.hasSuffix("=") && word.hasPrefix($0) }) {
          throw directive.unknownParameter(0, all)
        }
      case .anything: break
      }
    }
  }

  /// A directive that is accepted because configurations have it, and that changes nothing here;
  /// the summary says why.
  static func noEffect(
    _ name: String, _ contexts: Contexts, _ argument: Idle, _ summary: String
  ) -> Row {
    Row(name, contexts, argument.count, summary) { _, directive throws(Refusal) in
      try argument.check(directive)
    }
  }
}

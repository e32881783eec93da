// A block while it is being read: what it inherited, what its directives have set so far.

import Configuration
import HTTP

/// One block of the configuration under construction.
final class Scope {
  let context: Contexts
  unowned let builder: PlanBuilder
  let parent: Scope?
  var main: MainSettings {
    get { builder.main }
    set { builder.main = newValue }
  }
  var server: ServerSettings
  var location: LocationSettings

  /// The server block that this stands in.
  var site: SiteDraft?
  /// The location (or `if`) that this block is.
  var place: Location?
  /// How the location that this block is was written.
  var form: LocationForm?
  /// Where rewrite directives of this block go; an `if` shares its parent's.
  var program = ProgramDraft()
  /// The upstream block that this is.
  var upstream: UpstreamDraft?
  var seen = UsedRows()
  private var turnedOff: Set<String> = []
  /// The locations inside the location that this block is, once there are any.
  private(set) var nested: LocationTree<Location>?

  init(_ context: Contexts, _ builder: PlanBuilder, parent: Scope?) {
    self.context = context
    self.builder = builder
    self.parent = parent
    server = parent?.server ?? ServerSettings()
    location = parent?.location ?? LocationSettings()
    site = parent?.site
    upstream = parent?.upstream
  }

  /// Where a location in this block goes.
  func locations(of site: Site) -> LocationTree<Location> {
    guard form != nil else { return site.locations }
    let tree = nested ?? LocationTree<Location>()
    nested = tree
    return tree
  }

  /// Whether this is the first use of a list directive in this block: inherited entries give way.
  func isFirst(_ directive: Directive) -> Bool {
    seen.count(directive.name.text) == 1
  }

  /// Whether a directive that may stand several times in this block is off: `off` in one of them
  /// counts more than what others say.
  func isOff(_ directive: Directive) -> Bool {
    if directive.arguments.contains(where: { $0.text.lowercased() == "off" }) {
      turnedOff.insert(directive.name.text)
    }
    return turnedOff.contains(directive.name.text)
  }

  /// Argument `index` as a word with variables.
  func template(_ directive: Directive, _ index: Int) throws(Refusal) -> Template {
    try builder.template(directive.arguments[index], index)
  }

  /// `text` as a word with variables; `index` is the argument to blame.
  func template(_ text: String, _ index: Int?) throws(Refusal) -> Template {
    try builder.template(text, index)
  }

  func bytes(_ text: String) -> Bytes { builder.store.append(text) }

  func warn(_ message: String, _ word: Word) { builder.diagnostics.warn(message, at: word) }

  /// Warns of a well-known trap: the first directive of a block, at `word`, replaces what is
  /// inherited.
  func warn(_ word: Word, hides inherited: [AddedHeader]) {
    guard !inherited.isEmpty, context != .http else { return }
    let names = inherited.map { $0.name.string }.joined(separator: ", ")
    warn("this \"\(word.text)\" hides those inherited from outside: \(names)", word)
  }
}

/// Which rows were used in a block, where first, and how often. A list: blocks use few, and hashing
/// names took a tenth of the time of compiling.
struct UsedRows {
  private var list: [(row: Row, first: Word, count: Int)] = []

  /// Where `row` was used first, or nil.
  func first(_ row: Row) -> Word? { list.first { $0.row === row }?.first }

  /// The same, by the name of the row.
  func first(_ name: String) -> Word? { list.first { $0.row.name == name }?.first }

  /// How often the row called `name` was applied.
  func count(_ name: String) -> Int { list.first { $0.row.name == name }?.count ?? 0 }

  /// Whether `name` and `other` were both used, `name` first.
  func has(_ name: String, before other: String) -> Bool {
    guard let first = list.firstIndex(where: { $0.row.name == name }),
      let second = list.firstIndex(where: { $0.row.name == other })
    else { return false }
    return first < second
  }

  /// Notes that `row` stands at `word`.
  mutating func note(_ row: Row, at word: Word) {
    if !list.contains(where: { $0.row === row }) { list.append((row, word, 0)) }
  }

  /// Counts a use.
  mutating func countUse(of row: Row) {
    if let index = list.firstIndex(where: { $0.row === row }) { list[index].count += 1 }
  }
}

/// A server block under construction.
final class SiteDraft {
  var listens: [ListenDraft] = []
  var names: [(text: String, word: Word)] = []
  var site: Site?
  let word: Word
  init(_ word: Word) { self.word = word }
}

/// One `listen` under construction.
struct ListenDraft {
  var settings: ListenSettings
  var isDefault: Bool { defaultWord != nil }
  /// The `default_server` of its line.
  var defaultWord: Word?
  var isTLS = false
  var takesProxyHeader = false
  var speaksHTTP2 = false
  /// Parameters that only concern the socket were given.
  var setsSocket = false
  var word: Word
}

/// An upstream block under construction.
final class UpstreamDraft {
  var settings: UpstreamSettings
  init(_ settings: UpstreamSettings) { self.settings = settings }
}

/// Rewrite steps under construction.
final class ProgramDraft {
  var steps: [RewriteProgram.Step] = []
}

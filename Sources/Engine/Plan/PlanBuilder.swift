// Compiles a configuration tree into a plan: finds each directive's row, checks where it stands and
// what it is given, applies settings before nested blocks, joins listens and sites at the end. All
// errors are collected; a plan comes out only if there are none.

import Configuration
import HTTP

/// Where relative paths of a configuration begin.
struct PlanPaths: Sendable {
  /// Of logs, pid and temporary files; ends in a slash.
  var prefix: String
  /// Of included files and certificates; ends in a slash.
  var confFolder: String

  /// The path of a file that the configuration names.
  func confFile(_ path: String) -> String { path.hasPrefix("/") ? path : confFolder + path }
}

/// How certificates are looked into while a plan is made.
enum CertificateChecks {
  /// Not at all: somebody has.
  case none
  /// Those that aren't certainly sound by a first look at their bytes (where the supervisor
  /// validates).
  case doubtful
  /// All of them, by OpenSSL (`-t`).
  case all
}

/// What plans of one process share and what outlives them.
struct PlanSurroundings {
  var paths: PlanPaths
  var registry: PeerRegistry
  var ticketKeys: TLSTicketKeyRing
  var zones: ZoneRegistry<LimitZone>
  var caches = CacheZones()
  var sessionZones = ZoneRegistry<TLSSessionZone>()
  var certificateChecks = CertificateChecks.none
  /// Whether a certificate that can't be used takes only its own site down (at a reload, and where
  /// the supervisor has checked before) instead of the whole configuration.
  var toleratesBrokenCertificates = false
}

/// Builds one plan.
final class PlanBuilder {
  let store = ByteStore()
  let files: any FileProvider
  let surroundings: PlanSurroundings
  var diagnostics: Diagnostics
  private(set) var sources = SourceMap()
  var main = MainSettings()
  var sites: [SiteDraft] = []
  var upstreams: [String: UpstreamSettings] = [:]
  var upstreamOrder: [String] = []
  /// The keys of `hash`, by upstream.
  var hashKeys: [String: Template] = [:]
  /// Their `sticky`.
  var stickies: [String: StickySettings] = [:]
  var references: [UpstreamReference] = []
  var formats: [String: LogFormat] = [:]
  var matches: [String: MatchSettings] = [:]
  /// Zones of limits by name, and what keeps them.
  var limitZones: [String: LimitZoneSettings] = [:]
  var zoneLeases: [ZoneLease<LimitZone>] = []
  /// The names that zones of limits, of sessions and of caches have taken.
  var zoneNames: Set<String> = []
  /// Caches by the names of their zones.
  var caches: [String: CacheZone] = [:]
  var logPaths: Set<String> = []
  var logBuffering: [String: LogBuffering] = [:]
  var temporaryPaths: Set<String> = []
  let charsets = Charsets()
  /// Pairs of charsets that a location turns into one another, and where it says so.
  var recodings: [(source: Int, destination: Int, word: Word?)] = []
  var serverNameBindings: [ObjectIdentifier: BoundRegex] = [:]
  /// Variables by name; the slot's map if a block computes it.
  var slots: [String: Int] = [:]
  var maps: [MapVariable?] = []
  var definedSlots: Set<Int> = []
  /// Names of families, such as $http_NAME, that a directive assigns.
  var assigned: Set<String> = []
  var pendingNames: [(name: String, word: Word?)] = []
  var currentWord: Word?
  var locationChecks: [(Scope, HealthCheckSettings, Word)] = []
  /// How the first `proxy_pass` to each upstream speaks TLS; nil: it doesn't.
  var passedTLS: [String: HealthCheckTLS?] = [:]
  /// Each file is read from the provider once.
  private var fileCache: [String: [UInt8]] = [:]
  /// TLS settings that were made into something already: blocks that inherit share it.
  var madeSites: [ObjectIdentifier: (settings: Shared<TLSSettings>, tls: SiteTLS)] = [:]
  var madeUpstreams: [UpstreamTLSKey: (settings: Shared<UpstreamTLSSettings>, tls: UpstreamTLS)] =
    [:]
  var checkedCertificates: Set<String> = []
  /// Policies without certificates: sites that differ in nothing else share one.
  var tlsPolicies: [TLSServerPolicy: Shared<TLSServerPolicy>] = [:]
  let staples = StapleStore()
  /// Zones of `ssl_session_cache`, by name.
  var sessionZones: [String: ZoneLease<TLSSessionZone>] = [:]
  var statusCaches: Set<StatusCacheSettings> = []
  /// That `ssl_ocsp` does nothing somewhere is said once.
  var warnedOfIdleOCSP = false
  lazy var library = TLSLibrary()

  init(files: any FileProvider, surroundings: PlanSurroundings, diagnostics: Diagnostics) {
    self.files = files
    self.surroundings = surroundings
    self.diagnostics = diagnostics
    // Variables that others set for directives to look at.
    _ = define("uid_reset")
  }

  /// Compiles `tree`; nil if `diagnostics` holds errors.
  static func build(
    _ tree: ConfigurationTree, files: any FileProvider, surroundings: PlanSurroundings,
    diagnostics: inout Diagnostics
  ) -> Plan? {
    let builder = PlanBuilder(files: files, surroundings: surroundings, diagnostics: diagnostics)
    let plan = builder.run(tree)
    diagnostics = builder.diagnostics
    return diagnostics.hasErrors ? nil : plan
  }

  private func run(_ tree: ConfigurationTree) -> Plan {
    sources = tree.sources
    let scope = Scope(.main, self, parent: nil)
    collectAssigned(tree.directives)
    process(tree.directives, scope)
    // An empty file is more likely a disk that was full than a wish to close all sockets.
    if !diagnostics.hasErrors && scope.seen.first("http") == nil {
      diagnostics.error("no \"http\" section in configuration", at: nil)
    }
    let plan = finish()
    checkPendingVariables()
    return plan
  }

  // --- walking -----------------------------------------------------------------------------------

  /// Applies the directives of a block, stage by stage.
  func process(_ directives: [Directive], _ scope: Scope) {
    var rows: [Row?] = []
    rows.reserveCapacity(directives.count)
    var stages = 0
    for index in directives.indices {
      let row = row(for: directives[index], scope)
      guard let row, check(directives[index], row, scope) else {
        rows.append(nil)
        continue
      }
      rows.append(row)
      stages |= 1 << row.stage.rawValue
    }
    for stage in Row.Stage.allCases {
      if stage == .program { settle(scope) }
      guard stages & (1 << stage.rawValue) != 0 else { continue }
      for index in rows.indices {
        guard let row = rows[index], row.stage == stage else { continue }
        apply(row, directives[index], scope)
      }
    }
  }

  private func row(for directive: Directive, _ scope: Scope) -> Row? {
    let name = directive.name.text
    guard let rows = Row.byName[name] else {
      let candidates = Row.all.filter { !$0.contexts.isDisjoint(with: scope.context) }.map(\.name)
      var message = "\"\(name)\" is not a directive here"
      if let known = NginxDirectives.note(name) {
        message = known
      } else if let nearest = nearestName(to: name, among: candidates) {
        message += "; did you mean \"\(nearest)\"?"
      } else if let nearest = nearestName(to: name, among: Row.all.map(\.name)) {
        message += "; did you mean \"\(nearest)\", in \(places(Row.byName[nearest] ?? []))?"
      }
      diagnostics.error(message, at: directive.name)
      return nil
    }
    if let row = rows.first(where: { !$0.contexts.isDisjoint(with: scope.context) }) { return row }
    diagnostics.error(
      "\"\(name)\" is not allowed here; it may stand in \(places(rows))", at: directive.name)
    return nil
  }

  /// The blocks that the rows of a directive may stand in, as a list for people.
  private func places(_ rows: [Row]) -> String {
    rows.reduce(into: Contexts()) { $0.formUnion($1.contexts) }.names.joined(separator: ", ")
  }

  private func check(_ directive: Directive, _ row: Row, _ scope: Scope) -> Bool {
    if row.isBlock && directive.block == nil {
      diagnostics.error(
        "\"\(row.name)\" needs a block: \"{ … }\" instead of \";\"", at: directive.name)
      return false
    }
    let count = directive.arguments.count
    if !row.arguments.contains(count) {
      diagnostics.error(
        "\"\(row.name)\" takes \(argumentCount(row.arguments)), not \(count)", at: directive.name,
        notes: notes(directive))
      return false
    }
    if !row.isBlock && directive.block != nil {
      diagnostics.error(
        "\"\(row.name)\" takes no block; end it with \";\"", at: directive.name,
        notes: notes(directive))
      return false
    }
    if row.isUnique, let first = scope.seen.first(row) {
      diagnostics.error(
        "\"\(row.name)\" directive is duplicate", at: directive.name,
        notes: [Diagnostic.Note("it stands here first", at: first)])
      return false
    }
    scope.seen.note(row, at: directive.name)
    return true
  }

  /// That the `;` of a directive that makes no sense may have been forgotten.
  private func notes(_ directive: Directive) -> [Diagnostic.Note] {
    let note = directive.missingSemicolonNote(sources) { Row.byName[$0] != nil }
    return note.map { [$0] } ?? []
  }

  /// The same where arguments of any number make sense: the directive that became one of them is
  /// not in force.
  private func warnOfMissingSemicolon(_ directive: Directive) {
    for note in notes(directive) {
      diagnostics.add(Diagnostic(.warning, note.message, position: note.position))
    }
  }

  private func argumentCount(_ range: ClosedRange<Int>) -> String {
    if range.lowerBound == range.upperBound {
      return range.lowerBound == 1 ? "1 argument" : "\(range.lowerBound) arguments"
    }
    if range.upperBound >= 1000 {
      return "at least \(range.lowerBound) argument\(range.lowerBound == 1 ? "" : "s")"
    }
    return "\(range.lowerBound) to \(range.upperBound) arguments"
  }

  private func apply(_ row: Row, _ directive: Directive, _ scope: Scope) {
    if row.isRepeatable { scope.seen.countUse(of: row) }
    currentWord = directive.name
    do throws(Refusal) {
      try row.apply(scope, directive)
      if row.takesAnyNumber { warnOfMissingSemicolon(directive) }
      if row.keepsWord { scope.server.tls.words[row.name] = directive.arguments.first }
    } catch {
      let word = error.argument.map { directive.arguments[min($0, directive.arguments.count - 1)] }
      diagnostics.error(error.message, at: word ?? directive.name, notes: notes(directive))
    }
  }

  // --- names -------------------------------------------------------------------------------------

  /// The slot of the variable called `name`; assigned by whoever defines it.
  func slot(_ name: String) -> Int {
    if let slot = slots[name] { return slot }
    let slot = maps.count
    maps.append(nil)
    slots[name] = slot
    return slot
  }

  /// The slot of a variable that is defined here.
  func define(_ name: String) -> Int {
    let slot = slot(name)
    definedSlots.insert(slot)
    return slot
  }

  private func checkPendingVariables() {
    for (name, word) in pendingNames {
      guard let slot = slots[name], !definedSlots.contains(slot) else { continue }
      var message = "unknown \"\(name)\" variable"
      let candidates =
        Array(slots.keys.filter { definedSlots.contains(slots[$0]!) }) + Builtin.names
      if let nearest = nearestName(to: name, among: candidates) {
        message += "; did you mean \"$\(nearest)\"?"
      }
      if let word {
        diagnostics.error(message, at: word)
      } else {
        diagnostics.error(message, at: nil)
      }
      definedSlots.insert(slot)
    }
  }

  /// Compiles a word with variables.
  func template(_ text: String, _ argument: Int?) throws(Refusal) -> Template {
    do throws(ValueError) {
      return compile(try splitTemplate(text))
    } catch {
      throw Refusal(error.message, argument: argument)
    }
  }

  /// The same for a word as written: what came from the environment has no variables.
  func template(_ word: Word, _ argument: Int?) throws(Refusal) -> Template {
    do throws(ValueError) {
      return compile(try splitTemplate(word))
    } catch {
      throw Refusal(error.message, argument: argument)
    }
  }

  private func compile(_ parts: [TemplatePart]) -> Template {
    var compiled: [Template.Part] = []
    compiled.reserveCapacity(parts.count)
    for part in parts {
      switch part {
      case .literal(let text): compiled.append(.literal(store.append(text)))
      case .capture(let group): compiled.append(.capture(group))
      case .variable(let name): compiled.append(.variable(variable(name)))
      }
    }
    return Template(parts: compiled)
  }

  /// What computes the variable called `name`.
  func variable(_ name: String) -> Variable {
    let name = name.lowercased()
    if let builtin = Builtin(named: name) { return .builtin(builtin) }
    if !assigned.contains(name), let member = member(name) { return member }
    if name.hasPrefix(Self.proxyFieldPrefix) {
      return proxyField(String(name.dropFirst(Self.proxyFieldPrefix.count)))
    }
    pendingNames.append((name, currentWord))
    return .slot(slot(name))
  }

  private static let proxyFieldPrefix = "proxy_protocol_tlv_"

  private func proxyField(_ name: String) -> Variable {
    if let field = ProxyField(name: name) { return .proxyField(field) }
    let known =
      ProxyField.names.keys + ProxyField.namesInsideSSL.keys.map { "ssl_\($0)" } + ["ssl_verify"]
    var message = "\"\(name)\" is no field of the PROXY protocol"
    if let nearest = nearestName(to: name, among: known) {
      message += "; did you mean \"\(nearest)\"?"
    } else {
      message +=
        "; it knows \(known.sorted().joined(separator: ", ")) and numbers such as 0xEA and ssl_0x21"
    }
    diagnostics.error(message, at: currentWord)
    return .builtin(.client(.pipe))
  }

  static let families: [(String, Variable.Family)] = [
    ("arg_", .argument), ("cookie_", .cookie), ("http_", .requestField),
    ("sent_http_", .sentField), ("sent_trailer_", .sentTrailer),
    ("upstream_http_", .upstreamField), ("upstream_cookie_", .upstreamCookie),
    ("upstream_trailer_", .upstreamTrailer),
  ]

  /// Compiles a regular expression; named groups become variables.
  func regex(_ pattern: String, caseless: Bool, _ argument: Int?) throws(Refusal) -> BoundRegex {
    do throws(RegexError) {
      let regex = try Regex(pattern: pattern, caseless: caseless)
      return BoundRegex(
        regex: regex,
        bindings: regex.names.map { (group: $0.group, slot: define($0.name.lowercased())) })
    } catch {
      throw Refusal(error.text, argument: argument)
    }
  }

  // --- files -------------------------------------------------------------------------------------

  /// The bytes of a file that the configuration names, relative to the configuration's folder.
  func read(_ path: String, _ argument: Int?) throws(Refusal) -> [UInt8] {
    let full = surroundings.paths.confFile(path)
    if let bytes = fileCache[full] { return bytes }
    do throws(FileError) {
      let bytes = try files.read(full)
      fileCache[full] = bytes
      return bytes
    } catch {
      throw Refusal("cannot read \"\(full)\": \(error.reason)", argument: argument)
    }
  }
}

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
  /// Whether the supervisor is root's.
  var isPrivileged: Bool
  var registry: PeerRegistry
  var ticketKeys: TLSTicketKeyRing
  var zones: ZoneRegistry<LimitZone>
  var caches = CacheZones()
  var sessionZones = ZoneRegistry<TLSSessionZone>()
  var certificateChecks = CertificateChecks.none
  /// Whether a certificate that can't be used takes only its own site down (at a reload, and where
  /// the supervisor has checked before) instead of the whole configuration.
  var toleratesBrokenCertificates = false
  /// What is served while a reload is prepared.
  var served: (any ServedFiles)?
  /// The `upstream` blocks of the configuration that serves meanwhile, by name.
  var servedUpstreams: Set<String> = []
}

/// Files as a running server has them, whatever the disk has by now.
protocol ServedFiles: AnyObject {
  /// What it has of the file at `path`; nil: nothing.
  func served(_ path: String) -> [UInt8]?
  /// Lets the configuration that is being read have the same.
  func keepServed(_ path: String)
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
  /// The names of all zones of limits that are written, also where the line is refused.
  var namedZones: Set<String> = []
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
  /// Expressions that stand in many places are compiled once.
  var regexes: [RegexKey: BoundRegex] = [:]
  /// What `listen` directives of the same first word listen on.
  private var listenAddresses: [String: [SocketAddress]] = [:]
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
    var told: Set<String> = []
    for index in directives.indices {
      let row = row(for: index, of: directives, scope, &told)
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

  /// `told` are the families of missing directives that this block was told of.
  private func row(
    for index: Int, of directives: [Directive], _ scope: Scope, _ told: inout Set<String>
  ) -> Row? {
    let directive = directives[index]
    let name = directive.name.text
    guard let rows = Row.byName[name] else {
      let candidates = Row.all.filter { !$0.contexts.isDisjoint(with: scope.context) }.map(\.name)
      var message = "\"\(name)\" is not a directive here"
      if let (pattern, reason) = NginxDirectives.find(name) {
        // A file such as fastcgi_params would be a page of the same.
        if pattern.hasSuffix("*") && !told.insert(pattern).inserted { return nil }
        message = "\"\(name)\": \(reason)" + others(like: pattern, in: directives[(index + 1)...])
      } else if let hidden = name.unicodeScalars.first(where: { Self.hiddenBlanks.contains($0) }) {
        let code = String(hidden.value, radix: 16, uppercase: true)
        message = "U+\(code), which looks like a blank or like nothing, is no blank here"
      } else if let glued = gluedName(name) {
        message = "a space is missing behind \"\(glued)\""
      } else if let nearest = nearestName(to: name, among: candidates) {
        message += "; did you mean \"\(nearest)\"?"
      } else if let nearest = nearestName(to: name, among: Row.all.map(\.name)) {
        message += "; did you mean \"\(nearest)\", in \(places(Row.byName[nearest] ?? []))?"
      } else {
        message += suggestion(for: name, withItsWordsAmong: candidates)
      }
      diagnostics.error(message, at: directive.name)
      return nil
    }
    if let row = rows.first(where: { !$0.contexts.isDisjoint(with: scope.context) }) { return row }
    diagnostics.error(
      "\"\(name)\" is not allowed here; it may stand in \(places(rows))", at: directive.name)
    return nil
  }

  /// What is pasted along from pages and chats: a no-break space, others, and a byte order mark.
  private static let hiddenBlanks: Set<Unicode.Scalar> = [
    "\u{A0}", "\u{2007}", "\u{202F}", "\u{200B}", "\u{2060}", "\u{3000}", "\u{FEFF}",
  ]

  /// The directive that `name` begins with if something was written right behind it: `if($a)`.
  private func gluedName(_ name: String) -> String? {
    let head = String(name.prefix { $0.isLetter || $0.isNumber || $0 == "_" })
    return head != name && Row.byName[head] != nil ? head : nil
  }

  /// How many more of `directives` are missing for the same reason.
  private func others(like pattern: String, in directives: ArraySlice<Directive>) -> String {
    guard pattern.hasSuffix("*") else { return "" }
    let count = directives.count {
      Row.byName[$0.name.text] == nil && NginxDirectives.find($0.name.text)?.pattern == pattern
    }
    if count == 0 { return "" }
    return " (and \(count) more \"\(pattern.dropLast())…\" directive\(count == 1 ? "" : "s"))"
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
      // An error that is not there would let a plan be made.
      if error.isAlreadySaid && diagnostics.hasErrors { return }
      let word = error.argument.map { directive.arguments[min($0, directive.arguments.count - 1)] }
      diagnostics.error(error.message, at: word ?? directive.name, notes: notes(directive))
    }
  }

  /// What `text`, the first argument of `listen`, listens on.
  func addresses(toListenOn text: String) throws(Refusal) -> [SocketAddress] {
    if let known = listenAddresses[text] { return known }
    let addresses = try ListenAddresses(text, files.addresses).all
    listenAddresses[text] = addresses
    return addresses
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
  /// Takes a file as it is served, not as the disk has it.
  func keepServed(_ path: String) {
    surroundings.served?.keepServed(path)
    fileCache[path] = nil
  }
}

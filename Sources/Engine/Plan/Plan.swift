// A plan is one compiled configuration for one worker thread: everything the data path looks at,
// built on another thread, handed over whole, never changed afterwards.
//
//   Plan ── listens ── AddressPlan ── sites by name ── Site ── locations ── Location ── settings
//        ├─ upstream groups, maps, log files
//        └─ text: the bytes of every literal

import Configuration
import HTTP

/// One compiled configuration.
final class Plan {
  let text: ByteStore
  var main = MainSettings()
  /// The OCSP responses that are stapled.
  var staples = StapleStore()
  /// What is kept of answers about clients' certificates.
  var statusCaches: Set<StatusCacheSettings> = []
  var listens: [ListenPlan] = []
  /// Who shows the certificate of a path; made when the first one is renewed.
  private lazy var sitesByCertificate = findSitesByCertificate()
  var upstreams: [UpstreamSettings] = []
  /// The names of those that a block describes.
  var namedUpstreams: Set<String> { Set(upstreams.filter { !$0.isImplied }.map(\.name)) }
  var groups: [String: UpstreamGroup] = [:]
  /// Keeps the zones of limits for as long as this plan lives.
  var zoneLeases: [ZoneLease<LimitZone>] = []
  /// Caches by the names of their zones.
  var caches: [String: CacheZone] = [:]
  /// What each variable slot is: nil where only `set` or a capture assigns it.
  var maps: [MapVariable?] = []
  var slotCount = 0
  /// The slots of variables, by name: for those that a page names.
  var slots: [String: Int] = [:]
  /// Every log file that a location writes to.
  var logPaths: [String] = []
  /// Those of them that are written by the buffer.
  var logBuffering: [String: LogBuffering] = [:]
  /// Folders for temporary files.
  var temporaryPaths: [String] = []
  let charsets: Charsets
  var serverNameBindings: [ObjectIdentifier: BoundRegex] = [:]
  /// What relative paths of logs and temporary files begin with; ends in a slash.
  let prefix: Bytes
  let paths: PlanPaths

  init(text: ByteStore, paths: PlanPaths, charsets: Charsets = Charsets()) {
    self.text = text
    self.charsets = charsets
    self.paths = paths
    prefix = text.append(paths.prefix)
  }

  /// `path` below the prefix, unless it is absolute.
  func path(_ path: String) -> String { path.hasPrefix("/") ? path : paths.prefix + path }

  /// The plan of the socket that is bound to `address`.
  func listen(for address: SocketAddress) -> ListenPlan? {
    listens.first { $0.settings.address == address }
  }

  /// The plan of the socket that connections to `local` come to.
  func listen(covering local: SocketAddress) -> ListenPlan? {
    if let exact = listen(for: local) { return exact }
    return listens.first {
      let address = $0.settings.address
      return address.isWildcard && address.port == local.port && address.family == local.family
    }
  }
}

extension Plan {
  /// Exchanges certificates in every site that shows them; handshakes from here on use them.
  func renew(_ renewals: [CertificateRenewal]) {
    for renewal in renewals {
      for tls in sitesByCertificate[renewal.certificatePath] ?? [] { tls.renew(renewal) }
    }
  }

  fileprivate func findSitesByCertificate() -> [String: [SiteTLS]] {
    var found: [String: [SiteTLS]] = [:]
    var seen: Set<ObjectIdentifier> = []
    for site in listens.flatMap(\.addresses).flatMap(\.sites) {
      guard let tls = site.tls, seen.insert(ObjectIdentifier(tls)).inserted else { continue }
      for path in Set(tls.certificates.map(\.certificatePath)) {
        found[path, default: []].append(tls)
      }
    }
    return found
  }
}

/// A socket to listen on, with the sites of each address that it accepts for.
final class ListenPlan {
  let settings: ListenSettings
  /// Sites by local address: a wildcard socket may serve several (`listen 80`, `listen
  /// 10.0.0.1:80`).
  var addresses: [AddressPlan] = []

  init(settings: ListenSettings) { self.settings = settings }

  /// The sites for a connection to `local`: an exact address before the wildcard.
  func address(for local: SocketAddress) -> AddressPlan {
    if addresses.count == 1 { return addresses[0] }
    for each in addresses where !each.address.isWildcard && each.address == local { return each }
    for each in addresses where each.address.isWildcard { return each }
    return addresses[0]
  }
}

/// The sites of one address and port.
final class AddressPlan {
  let address: SocketAddress
  var isTLS = false
  /// Connections begin with a PROXY protocol header.
  var takesProxyHeader = false
  var speaksHTTP2 = false
  let names = ServerNames<Site>()
  var defaultSite: Site
  var sites: [Site] = []
  /// Whether every request goes to the default site, whatever its Host.
  var hasOneSite = true
  /// Chooses certificates by server name; made by the first handshake.
  var resolver: TLSNameResolver?

  init(address: SocketAddress, defaultSite: Site) {
    self.address = address
    self.defaultSite = defaultSite
  }
}

/// One `server` block.
final class Site {
  var settings: ServerSettings
  /// Settings of the server level, for requests that failed before a location was found.
  let root: Location
  let locations = LocationTree<Location>()
  var named: [String: Location] = [:]
  var hasLocations = false
  /// The first `server_name`, for `$server_name` and redirects.
  var primaryName: Bytes
  /// Rewrite directives of the server level.
  var program: RewriteProgram?
  var tls: SiteTLS?
  /// `ssl_verify_client`.
  var clientVerification = TLSClientVerification.off

  init(settings: ServerSettings, root: Location, primaryName: Bytes) {
    self.settings = settings
    self.root = root
    self.primaryName = primaryName
  }
}

/// One `location`, or the implicit one of an `if`.
final class Location {
  var settings: LocationSettings
  /// The path as written; what `alias` and a `proxy_pass` URI replace.
  var prefix: Bytes
  var isRegex = false
  var isNamed = false
  var program: RewriteProgram?
  /// Named groups of the location's expression.
  var binding: BoundRegex?
  /// Those of the locations around it, the outermost first.
  var enclosing: [BoundRegex] = []
  /// The settings for requests with other methods, if `limit_except` names some.
  var exception: MethodException?
  /// TLS towards upstreams, if `proxy_pass` wants it.
  var upstreamTLS: UpstreamTLS?

  init(settings: LocationSettings, prefix: Bytes) {
    self.settings = settings
    self.prefix = prefix
  }
}

/// A variable that a block computes.
final class MapVariable {
  enum Kind {
    /// `map`.
    case map(ValueMap)
    /// `split_clients`, by what the source is.
    case split(source: Template, SplitTable)
    /// `geo`.
    case geo(GeoTable)
    /// What a variable of a family is that `set` may assign, until it does.
    case unassigned(Variable)
  }

  let kind: Kind
  /// Computed each time that it is asked for.
  let isVolatile: Bool

  init(_ kind: Kind, isVolatile: Bool) {
    self.kind = kind
    self.isVolatile = isVolatile
  }
}

/// What a `map` block says. A class, so that looking something up copies none of its parts.
final class ValueMap {
  /// A result, with the expression whose named groups it may use.
  struct Result {
    let value: Template
    var bound: BoundRegex?
  }

  let source: Template
  let table: MapTable<Result>
  let defaultValue: Template

  init(source: Template, table: MapTable<Result>, defaultValue: Template) {
    self.source = source
    self.table = table
    self.defaultValue = defaultValue
  }
}

/// A regular expression with the variables that its named groups assign.
struct BoundRegex {
  let regex: Regex
  /// Pairs of group number and variable slot.
  let bindings: [(group: Int, slot: Int)]
}

/// Rewrite directives of a block in the order in which they stand, jumps resolved.
final class RewriteProgram {
  enum Step {
    case set(Variable, Template)
    case rewrite(RewriteRule)
    case `return`(status: Int, text: Template?)
    case `break`
    /// Goes on at `target` unless the condition holds.
    case unless(Condition, target: Int)
    /// Takes the settings of an `if` block.
    case enter(Location)
  }

  enum Condition {
    case isTrue(Template)
    case equals(Template, Template, negated: Bool)
    case matches(Template, BoundRegex, negated: Bool)
    case file(FileTest, Template, negated: Bool)
  }

  enum FileTest: Character {
    case file = "f"
    case directory = "d"
    case exists = "e"
    case executable = "x"
  }

  var steps: [Step] = []
}

/// One `rewrite`.
final class RewriteRule {
  enum Flag: String, CaseIterable { case none, last, `break`, redirect, permanent }

  let regex: BoundRegex
  /// The client is told, by 301 or 302.
  var isRedirect: Bool { flag == .redirect || flag == .permanent }
  /// The replacement up to its question mark.
  let path: Template
  /// The arguments that the replacement brings, if it has a question mark.
  let arguments: Template?
  let flag: Flag
  /// Whether the request's arguments follow.
  let keepsArguments: Bool

  init(
    regex: BoundRegex, path: Template, arguments: Template?, flag: Flag, keepsArguments: Bool
  ) {
    self.regex = regex
    self.path = path
    self.arguments = arguments
    self.flag = flag
    self.keepsArguments = keepsArguments
  }
}

// `server`, `listen`, `server_name` and `location` (ngx_http_core_module), and the table of all
// rows.

import Configuration
import HTTP

extension Row {
  /// Every directive that exists.
  static let all: [Row] =
    mainRows + serverRows + clientRows + coreRows + fileRows + limitRows + linkRows + accessRows
    + authRows + http2Rows + rewriteRows + splitRows + geoRows + headerRows + gzipRows + charsetRows
    + substituteRows + ssiRows + additionRows + listingRows + mirrorRows + userIDRows + logRows
    + realIPRows + proxyRows + proxyCookieRows + storeRows + cacheRows + grpcRows + upstreamRows
    + stickyRows + tlsRows + tuningRows

  /// Rows by name; several where a name means different things in different blocks.
  static let byName: [String: [Row]] = Dictionary(grouping: all, by: \.name)

  static let serverRows: [Row] = [
    Row("server", .http, 0...0, "A virtual server.") { scope, directive throws(Refusal) in
      addServer(scope, directive)
    }.block().at(.block),
    Row(
      "listen", .server, 1...1000,
      """
      An address to accept connections on. Clients wait when `backlog=` connections (511, capped \
      by `net.core.somaxconn`) wait to be accepted: the kernel lets them ask again.
      """,
      standard: "*:80"
    ) { scope, directive throws(Refusal) in
      scope.site?.listens.append(try ListenDraft(directive))
    }.repeatable(),
    Row(
      "server_name", .server, 1...1000,
      "The names of the server: exact, with a wildcard, or `~` and a regular expression.",
      standard: "\"\""
    ) { scope, directive throws(Refusal) in
      for word in directive.arguments { scope.site?.names.append((word.text, word)) }
    }.repeatable(),
    Row("location", [.server, .location], 1...2, "Settings for paths.") {
      scope, directive throws(Refusal) in
      try addLocation(scope, directive)
    }.block().at(.block),
  ]

  private static func addServer(_ scope: Scope, _ directive: Directive) {
    let draft = SiteDraft(directive.name)
    let inner = Scope(.server, scope.builder, parent: scope)
    inner.site = draft
    let root = Location(settings: inner.location, prefix: Bytes("/"))
    inner.place = root
    let site = Site(settings: inner.server, root: root, primaryName: Bytes())
    draft.site = site
    scope.builder.process(directive.block ?? [], inner)
    site.settings = inner.server
    root.settings = inner.location
    if !inner.program.steps.isEmpty {
      let program = RewriteProgram()
      program.steps = inner.program.steps
      site.program = program
    }
    site.primaryName = scope.bytes(primaryName(draft.names.first?.text ?? ""))
    scope.builder.sites.append(draft)
  }

  /// `$server_name` of `.example.com` is `example.com`.
  private static func primaryName(_ first: String) -> String {
    if first.hasPrefix("~") { return first }
    return (first.hasPrefix(".") ? String(first.dropFirst()) : first).lowercased()
  }

  private static func addLocation(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    guard let site = scope.site?.site else { return }
    let inner = Scope(.location, scope.builder, parent: scope)
    // What a location does is not inherited by those inside.
    inner.location.dropContent()
    let form = try LocationForm(directive)
    let place = Location(settings: inner.location, prefix: scope.bytes(form.path))
    place.isRegex = form.isRegex
    place.isNamed = form.kind == .named
    inner.place = place
    let tree = scope.tree ?? site.locations
    if form.kind == .named && scope.context != .server {
      throw Refusal("named location \"\(form.path)\" can be on the server level only", argument: 0)
    }
    if !form.isRegex, tree.contains(form.path, form.kind) {
      throw Refusal("duplicate location \"\(form.path)\"", argument: 0)
    }
    var bound: BoundRegex?
    if form.isRegex {
      bound = try scope.builder.regex(
        form.path, caseless: form.caseless, directive.arguments.count - 1)
      place.binding = bound
    }
    let nested = LocationTree<Location>()
    inner.tree = nested
    scope.builder.process(directive.block ?? [], inner)
    place.settings = inner.location.inForce
    if !inner.program.steps.isEmpty {
      let program = RewriteProgram()
      program.steps = inner.program.steps
      place.program = program
    }
    let hasNested = inner.hasLocations
    scope.hasLocations = true
    site.hasLocations = true
    if let bound {
      tree.insert(bound.regex, place, nested: hasNested ? nested : nil)
    } else if form.kind == .named {
      site.named[String(form.path.dropFirst())] = place
      tree.insert(form.path, .named, place)
    } else {
      tree.insert(
        form.path, form.kind, place, nested: hasNested ? nested : nil,
        redirectsToSlash: form.kind != .exact && place.settings.proxy.pass != nil)
    }
  }
}

/// The arguments of a `location`.
struct LocationForm {
  var kind = LocationKind.prefix
  var isRegex = false
  var caseless = false
  var path: String

  init(_ directive: Directive) throws(Refusal) {
    if directive.arguments.count == 2 {
      path = directive.text(1)
      switch directive.text(0) {
      case "=": kind = .exact
      case "^~": kind = .prefixBeforeRegex
      case "~": isRegex = true
      case "~*": (isRegex, caseless) = (true, true)
      default:
        throw Refusal(
          """
          "location" knows the modifiers "=", "^~", "~", "~*", not "\(directive.text(0))"
          """,
          argument: 0)
      }
      return
    }
    let word = directive.text(0)
    path = word
    if word.hasPrefix("@") {
      kind = .named
    } else if word.hasPrefix("=") {
      (kind, path) = (.exact, String(word.dropFirst()))
    } else if word.hasPrefix("^~") {
      (kind, path) = (.prefixBeforeRegex, String(word.dropFirst(2)))
    } else if word.hasPrefix("~*") {
      (isRegex, caseless, path) = (true, true, String(word.dropFirst(2)))
    } else if word.hasPrefix("~") {
      (isRegex, path) = (true, String(word.dropFirst()))
    }
  }
}

extension ListenDraft {
  private static let parameters = [
    "default_server", "ssl", "http2", "proxy_protocol", "backlog=", "rcvbuf=", "sndbuf=",
    "reuseport", "deferred", "bind",
    "ipv6only=", "so_keepalive=", "fastopen=",
  ]

  init(_ directive: Directive) throws(Refusal) {
    let text = directive.text(0)
    guard let address = Self.address(text) else {
      throw Refusal("invalid host or port in \"listen \(text)\"", argument: 0)
    }
    settings = ListenSettings(address: address)
    word = directive.arguments[0]
    for index in directive.arguments.indices.dropFirst() { try apply(directive, index) }
  }

  private mutating func apply(_ directive: Directive, _ index: Int) throws(Refusal) {
    if let value = directive.parameter("backlog", index) {
      settings.backlog = try directive.number(value, index, -1...65_535)
      setsSocket = true
    } else if let value = directive.parameter("rcvbuf", index) {
      settings.receiveBufferBytes = try directive.size(value, index)
      setsSocket = true
    } else if let value = directive.parameter("sndbuf", index) {
      settings.sendBufferBytes = try directive.size(value, index)
      setsSocket = true
    } else if let value = directive.parameter("fastopen", index) {
      settings.fastOpen = try directive.number(value, index, 0...65_535)
      setsSocket = true
    } else if let value = directive.parameter("ipv6only", index) {
      settings.ipv6Only = value != "off"
      setsSocket = true
    } else if let value = directive.parameter("so_keepalive", index) {
      settings.keepAlive = value != "off"
      setsSocket = true
    } else {
      switch directive.text(index) {
      case "default_server", "default": isDefault = true
      case "ssl": isTLS = true
      case "http2": speaksHTTP2 = true
      case "proxy_protocol": takesProxyHeader = true
      case "reuseport": (settings.reusePort, setsSocket) = (true, true)
      case "deferred": (settings.deferredAccept, setsSocket) = (true, true)
      case "bind": setsSocket = true
      case "quic": throw Refusal("\"listen … quic\": HTTP/3 is not supported", argument: index)
      default: throw directive.unknownParameter(index, Self.parameters)
      }
    }
  }

  /// `8080`, `*:8080`, `10.0.0.1`, `[::]:80`, `localhost:80`, `unix:/path`.
  private static func address(_ text: String) -> SocketAddress? {
    if let port = UInt16(text), port > 0 { return SocketAddress(literal: "0.0.0.0", port: port) }
    var text = text
    if text.hasPrefix("*") { text = "0.0.0.0" + text.dropFirst() }
    if text.hasPrefix("localhost") { text = "127.0.0.1" + text.dropFirst(9) }
    return HostPort(text, defaultPort: 80)?.address
  }
}

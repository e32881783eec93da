// `server`, `listen`, `server_name` and `location` (ngx_http_core_module), and the table of all
// rows.

import Configuration
import HTTP

extension Row {
  /// Every directive that exists.
  static let all: [Row] =
    mainRows + processRows + serverRows + clientRows + coreRows + fileRows + limitRows + linkRows
    + accessRows + authRows + http2Rows + rewriteRows + splitRows + geoRows + headerRows + gzipRows
    + charsetRows
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
      An address to accept connections on, or several by a range of ports (`8000-8003`) or a host \
      name. Clients wait when `backlog=` connections (511, capped by `net.core.somaxconn`) wait to \
      be accepted: the kernel lets them ask again.
      """,
      standard: "*:80"
    ) { scope, directive throws(Refusal) in
      let addresses = try scope.builder.addresses(toListenOn: directive.text(0))
      scope.site?.listens += try ListenDraft.all(of: directive, on: addresses)
    }.repeatable(),
    Row(
      "server_name", .server, 1...1000,
      """
      The names of the server: exact, with a wildcard, `~` and a regular expression, or \
      `$hostname`, the name of this machine.
      """,
      standard: "\"\""
    ) { scope, directive throws(Refusal) in
      for word in directive.arguments {
        let isMachine = word.text.lowercased() == "$hostname"
        scope.site?.names.append((isMachine ? HostName.current : word.text, word))
      }
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
    if let outer = scope.form { try form.checkIsInside(outer) }
    inner.form = form
    let place = Location(settings: inner.location, prefix: scope.bytes(form.path))
    place.isRegex = form.isRegex
    place.isNamed = form.kind == .named
    inner.place = place
    place.enclosing = scope.place?.enclosing ?? []
    if let outer = scope.place?.binding, !outer.bindings.isEmpty { place.enclosing.append(outer) }
    let tree = scope.locations(of: site)
    if !form.isRegex, tree.contains(form.path, form.kind) {
      throw Refusal("duplicate location \"\(form.path)\"", argument: 0)
    }
    var bound: BoundRegex?
    if form.isRegex {
      bound = try scope.builder.regex(
        form.path, caseless: form.caseless, directive.arguments.count - 1)
      place.binding = bound
    }
    scope.builder.process(directive.block ?? [], inner)
    place.settings = inner.location.inForce
    if !inner.program.steps.isEmpty {
      let program = RewriteProgram()
      program.steps = inner.program.steps
      place.program = program
    }
    site.hasLocations = true
    if let bound {
      tree.insert(bound.regex, place, nested: inner.nested)
    } else if form.kind == .named {
      site.named[String(form.path.dropFirst())] = place
      tree.insert(form.path, .named, place)
    } else {
      tree.insert(
        form.path, form.kind, place, nested: inner.nested,
        redirectsToSlash: place.settings.proxy.pass != nil)
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

  /// Refuses a location that no request would find inside `outer`.
  func checkIsInside(_ outer: LocationForm) throws(Refusal) {
    if outer.kind == .exact || outer.kind == .named {
      let kind = outer.kind == .exact ? "exact" : "named"
      throw Refusal(
        "location \"\(path)\" cannot be inside the \(kind) location \"\(outer.path)\"")
    }
    if kind == .named {
      throw Refusal("named location \"\(path)\" can be on the server level only", argument: 0)
    }
    // What a regular expression matches may begin in any way.
    if !isRegex && !outer.isRegex && !path.utf8.starts(with: outer.path.utf8) {
      throw Refusal("location \"\(path)\" is outside location \"\(outer.path)\"")
    }
  }
}

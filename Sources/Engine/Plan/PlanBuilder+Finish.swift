// The end of compiling: what follows from settings (`settle`), and how servers share sockets.

import CLinux
import Configuration
import HTTP

extension PlanBuilder {
  /// Computes what follows from a block's settings; called before its rewrite directives and nested
  /// blocks are read.
  func settle(_ scope: Scope) {
    let isChanged = scope.parent.map { !$0.location.proxy.isSame(as: scope.location.proxy) } ?? true
    if isChanged || scope.context == .http { settleProxy(&scope.location.proxy) }
    if scope.parent.map({ !$0.location.filters.isSame(as: scope.location.filters) }) ?? true {
      settleFilters(scope)
    }
    let isGRPCChanged =
      scope.parent.map { !$0.location.grpc.isSame(as: scope.location.grpc) } ?? true
    if isGRPCChanged || scope.context == .http { settleProxy(&scope.location.grpc) }
    settleAdmission(scope)
    Row.settleHeaders(scope)
    if !scope.context.isDisjoint(with: [.server, .location, .locationIf, .limitExcept]) {
      for log in scope.location.log.accessLogs
      where log.computedPath == nil && log.syslog == nil {
        logPaths.insert(log.path)
      }
      for log in scope.location.log.errorLogs ?? [] where log.syslog == nil {
        logPaths.insert(log.path)
      }
    }
    if !scope.context.isDisjoint(with: [.location, .locationIf, .limitExcept]),
      let place = scope.place
    {
      settleUpstreamTLS(scope, place)
    }
  }

  private func settleAdmission(_ scope: Scope) {
    guard let parent = scope.parent,
      !parent.location.admission.isSame(as: scope.location.admission)
    else { return }
    scope.location.admission.update { $0.settle() }
    let settings = scope.location.admission.value
    if scope.context == .location || scope.context == .limitExcept, settings.realm != nil,
      settings.userFile == nil, let word = scope.seen.first("auth_basic")
    {
      scope.warn("\"auth_basic\" protects nothing without an \"auth_basic_user_file\"", word)
    }
  }

  private func settleFilters(_ scope: Scope) {
    let filters = scope.location.filters
    var isActive =
      filters.gzip.isOn || filters.gunzips || filters.changesText
    if case .none = filters.charset.destination {} else { isActive = true }
    if isActive != filters.isActive { scope.location.filters.isActive = isActive }
    guard case .named(let destination) = filters.charset.destination,
      case .named(let source) = filters.charset.source, source != destination
    else { return }
    let word = scope.seen.first("charset") ?? scope.seen.first("source_charset")
    recodings.append((source, destination, word))
  }

  /// Every pair of charsets needs a table.
  private func checkRecodings() {
    for (source, destination, word) in recodings
    where charsets.table(from: source, to: destination) == nil {
      let names =
        "\"\(charsets.spellings[source].string)\" and \"\(charsets.spellings[destination].string)\""
      diagnostics.error("no \"charset_map\" between the charsets \(names)", at: word)
    }
  }

  private func settleProxy(_ proxy: inout Shared<ProxySettings>) {
    var dropped = FieldNames()
    for token in [
      FieldName.connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade, .host,
      .contentLength, .expect, .trailer, .http2Settings, .proxy,
    ] { dropped.insert(token) }
    proxy.setsHost = false
    proxy.setsConnection = false
    proxy.setsUpgrade = false
    proxy.setsTE = false
    proxy.closesUpstream = false
    for field in proxy.setFields {
      let token = FieldName.lookup(field.name)
      if token != .other { dropped.insert(token) }
      switch token {
      case .host: proxy.setsHost = true
      case .connection:
        proxy.setsConnection = true
        if let literal = field.value.literal {
          proxy.closesUpstream = literal.equalsIgnoringCase(Bytes("close"))
        }
      case .upgrade: proxy.setsUpgrade = true
      case .te: proxy.setsTE = true
      default: break
      }
    }
    if proxy.forwarded {
      for token in [
        FieldName.xForwardedFor, .xForwardedProto, .xForwardedHost, .xRealIP, .forwarded,
      ] {
        dropped.insert(token)
      }
    }
    proxy.droppedRequestFields = dropped
    settleHidden(&proxy)
    let (room, isHuge) = proxy.bufferCount.multipliedReportingOverflow(by: proxy.bufferUnitBytes)
    proxy.memoryLimit = isHuge ? .max : max(room, 8 << 10)
  }

  /// nginx's list of fields that are not passed on, changed by proxy_hide_header,
  /// proxy_pass_header.
  private func settleHidden(_ proxy: inout Shared<ProxySettings>) {
    var hidden = FieldNames()
    for token in [
      FieldName.date, .server, .xAccelRedirect, .xAccelExpires, .xAccelBuffering, .xAccelCharset,
      .xAccelLimitRate,
    ] {
      hidden.insert(token)
    }
    // What Apache httpd 1.3 pads heads with, for browsers of its time.
    var names = [Bytes("X-Pad")]
    for name in proxy.hiddenFields {
      let token = FieldName.lookup(name)
      if token == .other { names.append(name) } else { hidden.insert(token) }
    }
    for name in proxy.passedFields {
      hidden.remove(FieldName.lookup(name))
      names.removeAll { $0.equalsIgnoringCase(name) }
    }
    proxy.hiddenNames = names
    // Never passed: they belong to the connection, or are written anew.
    for token in [
      FieldName.connection, .keepAlive, .proxyConnection, .transferEncoding, .contentLength,
      .trailer,
    ] {
      hidden.insert(token)
    }
    proxy.hiddenTokens = hidden
  }

  /// nginx's default: every request is logged, in the combined format.
  func setStandardAccessLog(_ scope: Scope) {
    let text =
      "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
      + "\"$http_referer\" \"$http_user_agent\""
    guard let template = try? template(text, nil) else { return }
    let format = LogFormat(template: template, escape: .default)
    formats["combined"] = format
    scope.location.log.accessLogs = [AccessLogSettings(path: "logs/access.log", format: format)]
  }

  // --- the plan ----------------------------------------------------------------------------------

  /// Joins everything that was read.
  func finish() -> Plan {
    let plan = Plan(text: store, paths: surroundings.paths, charsets: charsets)
    checkRecodings()
    attachLocationChecks()
    plan.main = main
    plan.staples = staples
    plan.zoneLeases = zoneLeases
    plan.caches = caches
    plan.upstreams = upstreamOrder.compactMap { upstreams[$0] }
    for settings in plan.upstreams {
      plan.groups[settings.name] = UpstreamGroup(
        settings, servers: surroundings.registry.servers(of: settings))
      plan.groups[settings.name]?.hashKey = hashKeys[settings.name]
      plan.groups[settings.name]?.sticky = stickies[settings.name]
    }
    for reference in references {
      reference.group = plan.groups[reference.name] ?? plan.groups[hostOnly(reference.name)]
    }
    listen(plan)
    // What sites do with TLS is made by `listen`.
    plan.statusCaches = statusCaches
    // Server names are compiled by `listen`, and their groups are variables.
    plan.maps = maps
    plan.slotCount = maps.count
    plan.slots = slots
    plan.serverNameBindings = serverNameBindings
    plan.logPaths = logPaths.sorted()
    plan.logBuffering = logBuffering
    plan.temporaryPaths = temporaryPaths.sorted()
    return plan
  }

  private func hostOnly(_ authority: String) -> String {
    HostPort(authority, defaultPort: 80)?.host ?? authority
  }

  /// `health_check` in a location belongs to the upstream that the location passes to.
  private func attachLocationChecks() {
    for (scope, settings, word) in locationChecks {
      guard let url = scope.location.proxyInForce.pass?.url,
        upstreams[url.upstream.name] != nil
      else {
        diagnostics.error(
          "\"health_check\" in a location needs a \"proxy_pass\" or \"grpc_pass\" to an upstream",
          at: word)
        continue
      }
      // Two sites that pass to one upstream have the same check as a rule.
      if let first = upstreams[url.upstream.name]?.healthCheck, !first.asks(asMuchAs: settings) {
        diagnostics.error(
          "an upstream has one \"health_check\", and \"\(url.upstream.name)\" has another already",
          at: word)
      }
      upstreams[url.upstream.name]?.healthCheck = settings
      upstreams[url.upstream.name]?.healthCheck?.tls = healthTLS(scope, url)
      passedTLS[url.upstream.name] = nil
    }
    // A check in the upstream block speaks as the first location that passes requests there.
    for (name, tls) in passedTLS { upstreams[name]?.healthCheck?.tls = tls }
    // What a check speaks is its own affair: requests may go to the same servers by another
    // version.
    for name in upstreams.keys {
      guard let check = upstreams[name]?.healthCheck else { continue }
      if case .grpc = check.kind {
        upstreams[name]?.healthCheck?.tls?.options.alpn = ["h2"]
      } else {
        upstreams[name]?.healthCheck?.tls?.options.alpn = []
      }
    }
  }

  private func listen(_ plan: Plan) {
    var byAddress: [SocketAddress: AddressPlan] = [:]
    var order: [(settings: ListenSettings, address: AddressPlan, isBound: Bool)] = []
    var defaults: Set<SocketAddress> = []
    for draft in sites {
      guard let site = draft.site else { continue }
      site.tls = siteTLS(draft)
      for listen in listens(of: draft) {
        let key = listen.settings.address
        if let known = byAddress[key] {
          add(draft, site, listen, to: known, &defaults)
          merge(listen, into: &order, known)
        } else {
          let address = AddressPlan(address: key, defaultSite: site)
          byAddress[key] = address
          order.append((listen.settings, address, listen.setsSocket))
          add(draft, site, listen, to: address, &defaults)
        }
      }
    }
    for address in byAddress.values where address.isTLS { checkTLS(address) }
    join(order, plan)
    forgetTLSSettings()
  }

  /// Lets go of the `ssl_` directives as written: what they come to is in each site's `tls`, and
  /// the words of 10,000 sites are 10 MB.
  private func forgetTLSSettings() {
    let none = Shared(TLSSettings())
    for draft in sites {
      guard let site = draft.site else { continue }
      site.clientVerification = site.settings.tls.verify.mode
      site.settings.tls = none
    }
  }

  private func listens(of draft: SiteDraft) -> [ListenDraft] {
    if !draft.listens.isEmpty { return draft.listens }
    // https://nginx.org/r/listen
    let port: UInt16 = surroundings.isPrivileged ? 80 : 8000
    guard let address = SocketAddress(literal: "0.0.0.0", port: port) else { return [] }
    return [ListenDraft(settings: ListenSettings(address: address), word: draft.word)]
  }

  private func merge(
    _ listen: ListenDraft,
    into order: inout [(settings: ListenSettings, address: AddressPlan, isBound: Bool)],
    _ address: AddressPlan
  ) {
    guard listen.setsSocket, let index = order.firstIndex(where: { $0.address === address }) else {
      return
    }
    if order[index].isBound {
      diagnostics.error(
        "duplicate listen options for \(listen.settings.address.description)", at: listen.word)
    }
    order[index].settings = listen.settings
    order[index].isBound = true
  }

  private func add(
    _ draft: SiteDraft, _ site: Site, _ listen: ListenDraft, to address: AddressPlan,
    _ defaults: inout Set<SocketAddress>
  ) {
    // The listens of one server follow each other.
    if address.sites.last === site {
      diagnostics.error(
        "a duplicate listen \(listen.settings.address.description)", at: listen.word)
      return
    }
    if listen.isDefault {
      if !defaults.insert(address.address).inserted {
        diagnostics.error(
          "a duplicate default server for \(address.address.description)",
          at: listen.defaultWord)
        // Which of its names conflict depends on what it should have been.
        return
      }
      address.defaultSite = site
    }
    if listen.isTLS { address.isTLS = true }
    if listen.speaksHTTP2 { address.speaksHTTP2 = true }
    if listen.takesProxyHeader { address.takesProxyHeader = true }
    address.sites.append(site)
    let names = draft.names.isEmpty ? [("", listen.word)] : draft.names.map { ($0.text, $0.word) }
    for (name, word) in names { insert(name, word, site, address) }
    address.hasOneSite = address.sites.count == 1 && !hasRegexName(draft)
  }

  private func hasRegexName(_ draft: SiteDraft) -> Bool {
    draft.names.contains { $0.text.hasPrefix("~") }
  }

  private func insert(_ name: String, _ word: Word, _ site: Site, _ address: AddressPlan) {
    if name.hasPrefix("~") {
      do throws(Refusal) {
        let bound = try regex(String(name.dropFirst()), caseless: true, nil)
        serverNameBindings[ObjectIdentifier(bound.regex)] = bound
        address.names.insert(bound.regex, site)
      } catch {
        diagnostics.error(error.message, at: word)
      }
      return
    }
    let name = name.lowercased()
    guard ServerNames<Site>.isValid(store.append(name)) else {
      diagnostics.error("server name \"\(name)\" is invalid", at: word)
      return
    }
    if !address.names.insert(name, site) {
      diagnostics.warn(
        "conflicting server name \"\(name)\" on \(address.address.description), ignored", at: word)
    }
  }

  /// Addresses that a wildcard of the same port covers share its socket, as in nginx.
  private func join(
    _ order: [(settings: ListenSettings, address: AddressPlan, isBound: Bool)], _ plan: Plan
  ) {
    func wildcard(_ address: SocketAddress) -> Int? {
      order.firstIndex {
        $0.settings.address.isWildcard && $0.settings.address.port == address.port
          && $0.settings.address.family == address.family
      }
    }
    var plans: [Int: ListenPlan] = [:]
    for (index, entry) in order.enumerated() {
      let address = entry.settings.address
      if !address.isUnix, !address.isWildcard, !entry.isBound, let owner = wildcard(address) {
        let shared = plans[owner] ?? ListenPlan(settings: order[owner].settings)
        plans[owner] = shared
        shared.addresses.append(entry.address)
      } else {
        let own = plans[index] ?? ListenPlan(settings: entry.settings)
        plans[index] = own
        own.addresses.append(entry.address)
      }
    }
    plan.listens = plans.keys.sorted().compactMap { plans[$0] }
  }

  // --- TLS ---------------------------------------------------------------------------------------

  private func checkTLS(_ address: AddressPlan) {
    guard address.defaultSite.tls == nil else {
      if address.defaultSite.settings.tls.rejectsHandshake { checkOthers(address) }
      return
    }
    if let draft = sites.first(where: { $0.site === address.defaultSite }) {
      diagnostics.error(
        """
        no "ssl_certificate" is defined for the "listen … ssl" directive on \
        \(address.address.description)
        """,
        at: draft.listens.first { $0.settings.address == address.address }?.word ?? draft.word)
    }
  }

  /// Where the default site has no certificate to lend, each other one needs its own.
  private func checkOthers(_ address: AddressPlan) {
    for draft in sites {
      guard let site = draft.site, site.tls == nil, address.sites.contains(where: { $0 === site })
      else { continue }
      diagnostics.error(
        """
        no "ssl_certificate" is defined for this server, and the default one on \
        \(address.address.description) rejects handshakes
        """,
        at: draft.word)
    }
  }
}

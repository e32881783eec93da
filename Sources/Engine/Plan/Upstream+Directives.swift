// Directives of upstream blocks (https://nginx.org/en/docs/http/ngx_http_upstream_module.html), and
// active health checks (ngx_http_upstream_hc_module, free here, also inside `upstream`).

import Configuration
import HTTP

extension Row {
  static let upstreamRows: [Row] = [
    Row("upstream", .http, 1...1, "A group of servers.") { scope, directive throws(Refusal) in
      let name = directive.text(0)
      let key = UpstreamSettings.key(name)
      guard scope.builder.upstreams[key] == nil else {
        throw Refusal("duplicate upstream \"\(name)\"", argument: 0)
      }
      let inner = Scope(.upstream, scope.builder, parent: scope)
      let draft = UpstreamDraft(UpstreamSettings(name: key))
      draft.settings.displayName = name
      inner.upstream = draft
      scope.builder.process(directive.block ?? [], inner)
      // A line that was refused has said so.
      guard !draft.settings.servers.isEmpty || inner.seen.first("server") != nil else {
        throw Refusal("no servers are inside upstream \"\(name)\"", argument: 0)
      }
      scope.builder.add(draft.settings)
    }.block().at(.definition),
    Row(
      "server", .upstream, 1...1000,
      """
      A server of the group: an address, and `weight=`, `max_conns=`, `max_fails=`, \
      `fail_timeout=`, `backup`, `down`, `drain` (only requests bound by `sticky` go there), \
      `route=` (its name for `sticky`), `resolve` (names are followed with or without it), \
      `service=` (SRV records say hosts, ports, weights and backups).
      """
    ) { scope, directive throws(Refusal) in
      scope.upstream?.settings.servers.append(try upstreamServer(directive))
    }.repeatable(),
    Row("least_conn", .upstream, 0...0, "The server with the fewest active connections is chosen.")
    { scope, directive throws(Refusal) in
      scope.upstream?.settings.method = .leastConnections
    },
    Row(
      "least_time", .upstream, 1...2,
      """
      The server with the least time to the `header` or the `last_byte` of its responses, times \
      its requests in flight, is chosen; `inflight`: requests without a response count by their age.
      """
    ) { scope, directive throws(Refusal) in
      var time = LeastTime(isToLastByte: try isToLastByte(directive, 0, directive.text(0)))
      if directive.arguments.count > 1 {
        guard directive.text(1) == "inflight" else {
          throw directive.unknownParameter(1, ["inflight"])
        }
        time.countsPending = true
      }
      scope.upstream?.settings.method = .leastTime(time)
    },
    Row("ip_hash", .upstream, 0...0, "The client's address decides which server is chosen.") {
      scope, directive throws(Refusal) in
      scope.upstream?.settings.method = .addressHash
    },
    Row(
      "hash", .upstream, 1...2,
      "A key decides which server is chosen; `consistent`: few keys move when servers come and go."
    ) { scope, directive throws(Refusal) in
      if directive.arguments.count > 1 && directive.text(1) != "consistent" {
        throw directive.unknownParameter(1, ["consistent"])
      }
      scope.upstream?.settings.method = .keyHash(consistent: directive.arguments.count > 1)
      if let upstream = scope.upstream {
        scope.builder.hashKeys[upstream.settings.name] = try scope.template(directive, 0)
      }
    },
    Row(
      "random", .upstream, 0...2,
      """
      Chance decides which server is chosen; `two`: of two the less busy one, or by `least_time=` \
      the faster one.
      """
    ) { scope, directive throws(Refusal) in
      if directive.arguments.count > 0 && directive.text(0) != "two" {
        throw directive.unknownParameter(0, ["two"])
      }
      var time: LeastTime?
      if directive.arguments.count > 1, let value = directive.parameter("least_time", 1) {
        time = LeastTime(isToLastByte: try isToLastByte(directive, 1, value))
      } else if directive.arguments.count > 1, directive.text(1) == "least_time" {
        time = LeastTime()
      } else if directive.arguments.count > 1, directive.text(1) != "least_conn" {
        throw directive.unknownParameter(1, ["least_conn", "least_time="])
      }
      scope.upstream?.settings.method = .random(two: directive.arguments.count > 0, time: time)
    },
    Row("zone", .upstream, 1...2, "Shared memory; the state of servers is always shared here.") {
      _, directive throws(Refusal) in
      if directive.arguments.count > 1 { _ = try directive.size(1) }
    },
    Row(
      "keepalive", .upstream, 1...2, "Idle connections kept by each worker; 0: none.",
      standard: "32"
    ) { scope, directive throws(Refusal) in
      if directive.arguments.count > 1 && directive.text(1) != "local" {
        throw directive.unknownParameter(1, ["local"])
      }
      scope.upstream?.settings.keepalive.connectionCount = try directive.number(0, 0...100_000)
    },
    Row(
      "keepalive_requests", .upstream, 1...1, "Requests that one connection may carry.",
      standard: "1000"
    ) { scope, directive throws(Refusal) in
      scope.upstream?.settings.keepalive.requestCount = try directive.number(0, 1...Int.max)
    },
    Row("keepalive_time", .upstream, 1...1, "How old a connection may become.", standard: "1h") {
      scope, directive throws(Refusal) in
      scope.upstream?.settings.keepalive.maxAge = try directive.time(0)
    },
    Row(
      "keepalive_timeout", .upstream, 1...1, "How long an idle connection is kept.", standard: "60s"
    ) { scope, directive throws(Refusal) in
      scope.upstream?.settings.keepalive.idleTimeout = try directive.time(0)
    },
    Row(
      "health_check", [.upstream, .location], 0...1000,
      """
      Asks servers regularly whether they are well: by TLS where `proxy_pass` says `https://`. A \
      check that takes longer than `timeout=` has failed; by default, and at most, `interval=` (5 \
      s). An upstream has one.
      """
    ) { scope, directive throws(Refusal) in
      let settings = try healthCheck(scope, directive)
      if scope.context == .upstream {
        if let first = scope.upstream?.settings.healthCheck, first != settings {
          throw Refusal("an upstream has one \"health_check\", and this one has another already")
        }
        scope.upstream?.settings.healthCheck = settings
      } else {
        scope.builder.locationChecks.append((scope, settings, directive.name))
      }
    }.repeatable(),
    Row("match", .http, 1...1, "What a health check's answer must be like.") {
      scope, directive throws(Refusal) in
      var settings = MatchSettings(name: directive.text(0))
      for line in directive.block ?? [] {
        let words = [line.name.text] + line.arguments.map(\.text)
        do throws(MatchSyntaxError) {
          try settings.add(words) { pattern in
            (try? scope.builder.pattern(pattern))
          }
        } catch {
          scope.builder.diagnostics.error(error.text, at: line.name)
        }
      }
      guard scope.builder.matches.updateValue(settings, forKey: settings.name) == nil else {
        throw Refusal("duplicate match \"\(settings.name)\"", argument: 0)
      }
    }.block().at(.definition),
  ]

  private static func isToLastByte(
    _ directive: Directive, _ index: Int, _ word: String
  ) throws(Refusal) -> Bool {
    switch word {
    case "header": return false
    case "last_byte": return true
    default:
      throw Refusal(
        "\"least_time\" must be \"header\" or \"last_byte\", not \"\(word)\"", argument: index)
    }
  }

  private static func upstreamServer(_ directive: Directive) throws(Refusal)
    -> UpstreamServerSettings
  {
    guard let target = HostPort(directive.text(0), defaultPort: 80) else {
      throw Refusal(
        "\"\(directive.text(0))\" is not an address; write \"host:port\" or \"unix:/path\"",
        argument: 0)
    }
    var server = UpstreamServerSettings(
      target.address.map { .address($0) } ?? .name(target.host, port: target.port))
    server.written = directive.text(0)
    var service: (name: String, index: Int)?
    for index in directive.arguments.indices.dropFirst() {
      if let value = directive.parameter("weight", index) {
        server.weight = try directive.number(value, index, 1...65_535)
      } else if let value = directive.parameter("max_conns", index) {
        server.maxConnections = try directive.number(value, index, 0...Int.max)
      } else if let value = directive.parameter("max_fails", index) {
        server.maxFails = try directive.number(value, index, 0...Int.max)
      } else if let value = directive.parameter("fail_timeout", index) {
        server.failTimeout = try directive.longTime(value, index)
      } else if directive.text(index) == "backup" {
        server.isBackup = true
      } else if directive.text(index) == "down" {
        server.isDown = true
      } else if directive.text(index) == "drain" {
        server.isDraining = true
      } else if let value = directive.parameter("route", index) {
        server.route = try serverRoute(value, index)
      } else if let value = directive.parameter("service", index) {
        service = (value, index)
      } else if directive.text(index) == "resolve" {
        server.isResolved = true
      } else if directive.parameter("slow_start", index) != nil {
        throw Refusal(
          "\"slow_start\" is not supported: it is of nginx's commercial version", argument: index)
      } else {
        throw directive.unknownParameter(
          index,
          [
            "weight=", "max_conns=", "max_fails=", "fail_timeout=", "backup", "down", "drain",
            "resolve", "route=", "service=",
          ])
      }
    }
    if let service { server.host = try serviceHost(service.name, service.index, target, server) }
    return server
  }

  /// The name of the SRV records of `service=`.
  private static func serviceHost(
    _ name: String, _ index: Int, _ target: HostPort, _ server: UpstreamServerSettings
  ) throws(Refusal) -> UpstreamServerSettings.Host {
    guard !name.isEmpty else { throw Refusal("\"service\" needs a name", argument: index) }
    guard server.isResolved else { throw Refusal("\"service\" needs \"resolve\"", argument: index) }
    guard target.address == nil else {
      throw Refusal("\"service\" needs a name, not \"\(target.host)\"", argument: 0)
    }
    guard !target.hasPort else {
      throw Refusal(
        "with \"service\" the port comes from DNS: write \"\(target.host)\"", argument: 0)
    }
    return .service(name.contains(".") ? "\(name).\(target.host)" : "_\(name)._tcp.\(target.host)")
  }

  private static func healthCheck(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> HealthCheckSettings
  {
    var settings = HealthCheckSettings()
    var grpc: (service: String, status: Int?, index: Int?) = ("", nil, nil)
    for index in directive.arguments.indices {
      if let value = directive.parameter("interval", index) {
        settings.interval = try directive.time(value, index)
      } else if let value = directive.parameter("jitter", index) {
        settings.jitter = try directive.time(value, index)
      } else if let value = directive.parameter("timeout", index) {
        settings.timeout = max(1, try directive.time(value, index))
      } else if let value = directive.parameter("fails", index) {
        settings.fails = try directive.number(value, index, 1...1000)
      } else if let value = directive.parameter("passes", index) {
        settings.passes = try directive.number(value, index, 1...1000)
      } else if let value = directive.parameter("uri", index) {
        guard value.hasPrefix("/") else {
          throw Refusal("a health check's uri begins with \"/\"", argument: index)
        }
        settings.uri = value
      } else if let value = directive.parameter("port", index) {
        settings.port = UInt16(try directive.number(value, index, 1...65_535))
      } else if let value = directive.parameter("match", index) {
        guard let match = scope.builder.matches[value] else {
          throw Refusal("there is no \"match \(value)\" block", argument: index)
        }
        settings.match = match
      } else if let value = directive.parameter("type", index) {
        switch value {
        case "http": settings.kind = .http
        case "tcp": settings.kind = .tcp
        case "grpc": settings.kind = .grpc(service: "", healthyStatus: nil)
        default:
          throw Refusal(
            "a health check's type is \"http\", \"tcp\" or \"grpc\", not \"\(value)\"",
            argument: index)
        }
      } else if let value = directive.parameter("grpc_service", index) {
        (grpc.service, grpc.index) = (value, index)
      } else if let value = directive.parameter("grpc_status", index) {
        grpc.status = try directive.number(value, index, 0...16)
        grpc.index = index
      } else if directive.text(index) == "mandatory" {
        settings.isMandatory = true
      } else if directive.text(index) == "persistent" {
        settings.isPersistent = true
      } else {
        throw directive.unknownParameter(
          index,
          [
            "interval=", "timeout=", "jitter=", "fails=", "passes=", "uri=", "port=", "match=",
            "type=", "grpc_service=", "grpc_status=", "mandatory", "persistent",
          ])
      }
    }
    try settle(&settings, grpc)
    return settings
  }
}

extension Row {
  /// What belongs to checks by gRPC, and what doesn't.
  private static func settle(
    _ settings: inout HealthCheckSettings, _ grpc: (service: String, status: Int?, index: Int?)
  ) throws(Refusal) {
    guard case .grpc = settings.kind else {
      if let index = grpc.index {
        throw Refusal("\"grpc_service\" and \"grpc_status\" go with \"type=grpc\"", argument: index)
      }
      return
    }
    if settings.match != nil || settings.uri != "/" {
      throw Refusal("\"uri\" and \"match\" do not go with \"type=grpc\"")
    }
    guard grpc.service.utf8.count < 128 else {
      throw Refusal("the name of a gRPC service is at most 127 bytes long", argument: grpc.index)
    }
    settings.kind = .grpc(service: grpc.service, healthyStatus: grpc.status)
  }
}

extension PlanBuilder {
  /// A pattern of a `match` block; the control thread alone evaluates it.
  func pattern(_ text: String) throws(Refusal) -> MatchPattern {
    let caseless = text.hasPrefix("*")
    do throws(RegexError) {
      let regex = Handover(
        try Regex(pattern: caseless ? String(text.dropFirst()) : text, caseless: caseless))
      return MatchPattern(text: text) { regex.value.matches($0) }
    } catch {
      throw Refusal(error.message)
    }
  }

  /// Lets upstreams with `resolve` ask the name servers of `http`, unless they have their own, for
  /// as long as `http` says, unless they do.
  func inheritResolver(_ resolver: ResolverSettings?, timeout: Milliseconds) {
    for (name, settings) in upstreams
    where settings.resolver != nil || settings.servers.contains(where: \.isResolved) {
      if settings.resolver == nil { upstreams[name]?.resolver = resolver }
      upstreams[name]?.resolver?.timeout = settings.resolverTimeout ?? timeout
    }
  }

  /// Takes an upstream in.
  func add(_ settings: UpstreamSettings) {
    upstreams[settings.name] = settings
    upstreamOrder.append(settings.name)
  }

  /// What `directive`, a `proxy_pass`, refers to: an upstream block, or a group made for one
  /// address.
  func reference(
    _ authority: String, _ target: HostPort, _ directive: Directive
  ) throws(Refusal) -> UpstreamReference {
    let (key, host) = (UpstreamSettings.key(authority), UpstreamSettings.key(target.host))
    // Otherwise the block would be passed over, and the name asked of DNS.
    if target.hasPort, upstreams[key] == nil, let named = upstreams[host], !named.isImplied {
      throw Refusal("upstream \"\(target.host)\" may not have port \(target.port)", argument: 0)
    }
    let reference = UpstreamReference(name: key)
    references.append(reference)
    if upstreams[key] == nil {
      let server = UpstreamServerSettings(
        target.address.map { .address($0) } ?? .name(target.host, port: target.port))
      let isDefaultPort = !target.hasPort && upstreams[host] != nil
      if !isDefaultPort {
        try check(vanished: target, directive)
        warn(ofMisspelt: target, directive)
        var settings = UpstreamSettings(name: key, servers: [server])
        settings.displayName = authority
        settings.isImplied = true
        add(settings)
      }
    }
    return reference
  }

  /// Looks, at a reload, at a name whose `upstream` block is gone. That may be an include that is
  /// empty by mistake, so it's refused unless there is a host of that name, as nginx has it.
  private func check(vanished target: HostPort, _ directive: Directive) throws(Refusal) {
    let name = target.host
    guard target.address == nil, !target.hasPort,
      surroundings.servedUpstreams.contains(UpstreamSettings.key(name))
    else { return }
    let message = "upstream \"\(name)\", which the running configuration has, is gone"
    guard !files.addresses(of: name).isEmpty else {
      throw Refusal("\(message), and no host of that name is known", argument: 0)
    }
    diagnostics.warn("\(message); the host of that name is used", at: directive.arguments[0])
  }

  /// Warns of a name that is nearly an upstream's. With a dot or a port it is no upstream's.
  private func warn(ofMisspelt target: HostPort, _ directive: Directive) {
    let name = target.host
    guard target.address == nil, !target.hasPort, !name.contains("."), name != "localhost",
      let nearest = nearestName(
        to: name, among: upstreamOrder.filter { upstreams[$0]?.isImplied == false })
    else { return }
    diagnostics.warn(
      "\"\(name)\" is no upstream, DNS is asked for it; did you mean \"\(nearest)\"?",
      at: directive.arguments[0])
  }
}

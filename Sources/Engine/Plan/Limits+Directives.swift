// Directives of ngx_http_limit_req_module and ngx_http_limit_conn_module
// (https://nginx.org/en/docs/http/ngx_http_limit_req_module.html,
// https://nginx.org/en/docs/http/ngx_http_limit_conn_module.html).

import Configuration
import HTTP

extension Row {
  static let limitRows: [Row] =
    [
      Row(
        "limit_req_zone", .http, 3...3,
        """
        What requests are counted by, where (`zone=NAME:SIZE`), and how fast they may come \
        (`rate=10r/s`, `30r/m`). Counts are shared by all threads and survive reloads that leave \
        name, key and size alone, unless the worker process is replaced.
        """
      ) { scope, directive throws(Refusal) in
        var (zone, rate): (ZoneWords?, RequestRate?)
        noteName(scope, directive)
        for index in directive.arguments.indices.dropFirst() {
          if let value = directive.parameter("zone", index) {
            zone = try zoneWords(directive, value, index)
          } else if let value = directive.parameter("rate", index) {
            rate = try requestRate(value, index)
          } else {
            throw directive.unknownParameter(index, ["zone=", "rate="])
          }
        }
        guard let zone else { throw Refusal("\"limit_req_zone\" needs \"zone=NAME:SIZE\"") }
        guard let rate else { throw Refusal("\"limit_req_zone\" needs \"rate=\"") }
        try addZone(scope, directive, zone, rate)
      }.repeatable().at(.definition),
      Row(
        "limit_conn_zone", .http, 2...2,
        "What connections are counted by, and where (`zone=NAME:SIZE`)."
      ) { scope, directive throws(Refusal) in
        noteName(scope, directive)
        guard let value = directive.parameter("zone", 1) else {
          throw directive.unknownParameter(1, ["zone="])
        }
        try addZone(scope, directive, try zoneWords(directive, value, 1), nil)
      }.repeatable().at(.definition),
      Row(
        "limit_req", .httpServerLocation, 1...3,
        """
        Requests come no faster than the rate of `zone=`: `burst=` of them wait, at once \
        (`nodelay`) or from the `delay=`th on; others are refused.
        """
      ) { scope, directive throws(Refusal) in
        if scope.isFirst(directive) { scope.location.admission.requestLimits = [] }
        let limit = try requestLimit(scope, directive)
        if scope.location.admission.requestLimits.contains(where: {
          $0.settings === limit.settings
        }) {
          throw Refusal("\"limit_req\" names the zone \"\(limit.settings.name.string)\" twice")
        }
        scope.location.admission.requestLimits.append(limit)
      }.repeatable(),
      Row(
        "limit_conn", .httpServerLocation, 2...2,
        """
        How many requests of one key may be under way: a zone and a number. By HTTP/2 each stream \
        counts.
        """
      ) { scope, directive throws(Refusal) in
        if scope.isFirst(directive) { scope.location.admission.connectionLimits = [] }
        let settings = try zone(scope, directive.text(0), 0, isOfRequests: false)
        if scope.location.admission.connectionLimits.contains(where: { $0.settings === settings }) {
          throw Refusal("\"limit_conn\" names the zone \"\(directive.text(0))\" twice", argument: 0)
        }
        let most = try directive.number(1, 1...65_535)
        scope.location.admission.connectionLimits.append(ConnectionLimit(settings, most: most))
      }.repeatable(),
    ]
    + mannerRows("limit_req", \.location.admission.requestManner)
    + mannerRows("limit_conn", \.location.admission.connectionManner)

  private static func mannerRows(
    _ name: String, _ path: ReferenceWritableKeyPath<Scope, LimitManner>
  ) -> [Row] {
    [
      .number(
        "\(name)_status", .httpServerLocation, 400...599, path.appending(path: \.status), "503",
        "What is answered when the limit is reached."),
      Row(
        "\(name)_log_level", .httpServerLocation, 1...1,
        "How loudly that is logged: `info`, `notice`, `warn` or `error`.", standard: "error"
      ) { scope, directive throws(Refusal) in
        guard let level = LogLevel(name: directive.text(0)), (.info ... .error).contains(level)
        else {
          throw Refusal(
            """
            "\(name)_log_level" must be one of "info", "notice", "warn", "error", not \
            "\(directive.text(0))"
            """,
            argument: 0)
        }
        scope[keyPath: path].level = level
      },
      .flag(
        "\(name)_dry_run", .httpServerLocation, path.appending(path: \.isDryRun), "off",
        "Whether the log only says what would happen."),
    ]
  }

  // --- zones -------------------------------------------------------------------------------------

  /// Remembers the name of a zone, whatever becomes of its directive.
  private static func noteName(_ scope: Scope, _ directive: Directive) {
    for index in directive.arguments.indices.dropFirst() {
      guard let value = directive.parameter("zone", index) else { continue }
      scope.builder.namedZones.insert(String(value.prefix { $0 != ":" }))
    }
  }

  /// What a parameter such as `zone=NAME:SIZE` says, and which argument it was.
  struct ZoneWords {
    let name: String
    let byteCount: Int
    let argument: Int
  }

  /// The parameter `key=value`, whose size must be at least `least`.
  static func zoneWords(
    _ directive: Directive, _ value: String, _ index: Int, key: String = "zone",
    least: Int = LimitZone.smallestByteCount
  ) throws(Refusal) -> ZoneWords {
    let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
      throw Refusal(
        "invalid zone \"\(value)\"; write a name and a size, such as \"\(key)=one:10m\"",
        argument: index)
    }
    let size = try directive.size(String(parts[1]), index)
    guard size >= least else {
      throw Refusal(
        "zone \"\(parts[0])\" is too small: it must have at least \(least >> 10)k, "
          + "not \"\(parts[1])\"",
        argument: index)
    }
    return ZoneWords(name: String(parts[0]), byteCount: size, argument: index)
  }

  private static func requestRate(_ text: String, _ index: Int) throws(Refusal) -> RequestRate {
    let scale = text.hasSuffix("r/s") ? 60 : text.hasSuffix("r/m") ? 1 : 0
    let digits = text.dropLast(3)
    // Bound: a rate that no machine reaches, far below what would overflow.
    guard scale > 0, digits.utf8.allSatisfy({ ASCII.isDigit($0) }),
      let number = Int(digits), (1...1_000_000_000).contains(number)
    else {
      throw Refusal(
        "invalid rate \"\(text)\"; write one as \"rate=10r/s\" or \"rate=30r/m\"", argument: index)
    }
    return RequestRate(perMinute: number * scale)
  }

  private static func addZone(
    _ scope: Scope, _ directive: Directive, _ words: ZoneWords, _ rate: RequestRate?
  ) throws(Refusal) {
    let builder = scope.builder
    guard builder.zoneNames.insert(words.name).inserted else {
      throw Refusal("zone \"\(words.name)\" is there already", argument: words.argument)
    }
    let zone = try lease(
      scope, words,
      LimitZone.Key(
        kind: rate == nil ? .connections : .requests, name: words.name,
        keyText: directive.text(0), byteCount: words.byteCount))
    builder.limitZones[words.name] = LimitZoneSettings(
      name: scope.bytes(words.name), key: try scope.template(directive, 0), zone: zone, rate: rate)
  }

  /// The zone for `key`, which the plan keeps.
  static func lease(
    _ scope: Scope, _ words: ZoneWords, _ key: LimitZone.Key
  ) throws(Refusal) -> LimitZone {
    guard let lease = scope.builder.surroundings.zones.lease(key) else {
      throw Refusal(
        "there is no memory for zone \"\(words.name)\" of \(words.byteCount) bytes",
        argument: words.argument)
    }
    scope.builder.zoneLeases.append(lease)
    return lease.zone
  }

  private static func zone(
    _ scope: Scope, _ name: String, _ index: Int, isOfRequests: Bool
  ) throws(Refusal) -> LimitZoneSettings {
    let zones = scope.builder.limitZones
    if let known = zones[name], (known.rate != nil) == isOfRequests { return known }
    if zones[name] == nil, scope.builder.namedZones.contains(name) { throw .alreadySaid }
    let directive = isOfRequests ? "limit_req_zone" : "limit_conn_zone"
    var message = "there is no \"\(directive)\" with a zone \"\(name)\""
    let names = zones.filter { ($0.value.rate != nil) == isOfRequests }.map(\.key)
    if let nearest = nearestName(to: name, among: names) {
      message += "; did you mean \"\(nearest)\"?"
    }
    throw Refusal(message, argument: index)
  }

  private static func requestLimit(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> RequestLimit {
    var settings: LimitZoneSettings?
    var burst = 0
    var undelayed: Int?
    // Bound: bursts whose parts of a request fit an Int many times.
    let numbers = 1...1_000_000_000
    for index in directive.arguments.indices {
      if let value = directive.parameter("zone", index) {
        settings = try zone(scope, value, index, isOfRequests: true)
      } else if let value = directive.parameter("burst", index) {
        burst = try directive.number(value, index, numbers)
      } else if let value = directive.parameter("delay", index) {
        undelayed = try directive.number(value, index, numbers)
      } else if directive.text(index) == "nodelay" {
        undelayed = numbers.upperBound
      } else {
        throw directive.unknownParameter(index, ["zone=", "burst=", "delay=", "nodelay"])
      }
    }
    guard let settings, let rate = settings.rate else {
      throw Refusal("\"limit_req\" needs \"zone=NAME\"")
    }
    return RequestLimit(
      settings, rate, burst: burst * RequestRate.request,
      undelayed: (undelayed ?? 0) * RequestRate.request)
  }
}

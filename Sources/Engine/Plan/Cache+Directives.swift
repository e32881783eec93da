// Directives of caching (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache).

import Configuration
import HTTP

extension Row {
  static let cacheRows: [Row] = [
    Row(
      "proxy_cache_path", .http, 2...17,
      """
      A cache: the folder of its files, the name and size of its zone (`keys_zone=NAME:SIZE`, 128 \
      bytes a key), `levels=`, `inactive=` (10m), `max_size=`, `min_free=`, and how its thread \
      works (`manager_…=`, `loader_…=`). The folder is the cache's own: what else lies there is \
      removed. Temporary files lie there too, whatever `use_temp_path=` says, so that putting a \
      file into place is one rename. What is known survives reloads, the files also restarts.
      """
    ) { scope, directive throws(Refusal) in
      try addCache(scope, directive)
    }.repeatable().at(.definition),
    Row(
      "proxy_cache", .httpServerLocation, 1...1,
      """
      The cache that answers, by the name of its zone, which may have variables; an empty name is \
      none. Not for `grpc_pass`.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.cache.source = try cacheSource(scope, directive)
    },
    .template(
      "proxy_cache_key", .httpServerLocation, \.location.cache.key,
      """
      What responses are stored by; by default protocol, host and target of the upstream's \
      request. Whatever of a request changes its response has to be in it, or in the response's \
      Vary.
      """
    ),
    Row(
      "proxy_cache_valid", .httpServerLocation, 1...1000,
      """
      How long responses are fresh that don't say so themselves: statuses (200, 301 and 302 \
      without any; `any`) and a time.
      """
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.cache.validities = [] }
      scope.location.cache.validities += try validities(directive)
    }.repeatable(),
    Row(
      "proxy_cache_methods", .httpServerLocation, 1...1000,
      "The methods whose responses are cached; GET and HEAD always are.", standard: "GET HEAD"
    ) { scope, directive throws(Refusal) in
      let methods = try cacheMethods(directive)
      if scope.isFirst(directive) { scope.location.cache.methods = [] }
      scope.location.cache.methods += methods
    }.repeatable(),
    .number(
      "proxy_cache_min_uses", .httpServerLocation, 1...1_000_000, \.location.cache.leastUses, "1",
      "From which request on a response is stored."),
    conditionRow(
      "proxy_cache_bypass", \.location.cache.bypass,
      "The cache isn't asked if one of these is neither empty nor \"0\"."),
    conditionRow(
      "proxy_no_cache", \.location.cache.exclusions,
      "The response isn't stored if one of these is neither empty nor \"0\"."),
    Row(
      "proxy_cache_use_stale", .httpServerLocation, 1...1000,
      "In which cases a response may be used that is not fresh any more.", standard: "off"
    ) { scope, directive throws(Refusal) in
      var uses = scope.isFirst(directive) ? StaleUses() : scope.location.cache.staleUses
      uses.failures.formUnion(try directive.union(staleFailures))
      if directive.arguments.contains(where: { $0.text.lowercased() == "updating" }) {
        uses.whileUpdating = true
      }
      scope.location.cache.staleUses = scope.isOff(directive) ? StaleUses() : uses
    }.repeatable(),
    .flag(
      "proxy_cache_background_update", .httpServerLocation, \.location.cache.updatesInBackground,
      "off", "Whether a stale response that may be used is sent at once and fetched anew meanwhile."
    ),
    .flag(
      "proxy_cache_lock", .httpServerLocation, \.location.cache.locks, "off",
      "Whether one request fetches what isn't in the cache and the others wait for it."),
    .time(
      "proxy_cache_lock_age", .httpServerLocation, \.location.cache.lockAge, "5s",
      "After which time one more request may fetch it."),
    .time(
      "proxy_cache_lock_timeout", .httpServerLocation, \.location.cache.lockTimeout, "5s",
      "How long the others wait; what they fetch then isn't stored."),
    .flag(
      "proxy_cache_revalidate", .httpServerLocation, \.location.cache.revalidates, "off",
      "Whether the upstream is asked if a stale response still holds."),
    .flag(
      "proxy_cache_convert_head", .httpServerLocation, \.location.cache.convertsHead, "on",
      "Whether HEAD becomes GET, to be cached; if not, the key should have the method in it."),
    Row(
      "proxy_cache_max_range_offset", .httpServerLocation, 1...1,
      "Ranges that begin at this byte or behind it are passed to the upstream, and not cached."
    ) { scope, directive throws(Refusal) in
      scope.location.cache.maxRangeOffset = try directive.size(0)
    },
    .flag(
      "proxy_force_ranges", .httpServerLocation, \.location.proxy.forcesRanges, "off",
      "Whether ranges are cut out of responses whatever the upstream says of them."),
  ]

  // --- proxy_cache_path --------------------------------------------------------------------------

  private static let pathParameters = [
    "levels=", "use_temp_path=", "keys_zone=", "inactive=", "max_size=", "min_free=",
    "manager_files=", "manager_sleep=", "manager_threshold=", "loader_files=", "loader_sleep=",
    "loader_threshold=",
  ]

  private static func addCache(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    let builder = scope.builder
    var path = directive.text(0)
    try refuseVariables(directive)
    if !path.hasPrefix("/") { path = builder.surroundings.paths.prefix + path }
    while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
    var levels: [Int] = []
    var zone: ZoneWords?
    var other = CacheZoneSettings(
      name: "", folder: CacheFolder(path: path, levels: []),
      byteCount: CacheZoneSettings.smallestByteCount)
    for index in 1..<directive.arguments.count {
      if let value = directive.parameter("levels", index) {
        levels = try cacheLevels(value, index)
      } else if let value = directive.parameter("keys_zone", index) {
        zone = try zoneWords(
          directive, value, index, key: "keys_zone", least: CacheZoneSettings.smallestByteCount)
      } else {
        try setCacheParameter(directive, index, &other)
      }
    }
    guard let zone else { throw Refusal("\"proxy_cache_path\" needs \"keys_zone=NAME:SIZE\"") }
    guard builder.zoneNames.insert(zone.name).inserted else {
      throw Refusal("zone \"\(zone.name)\" is there already", argument: zone.argument)
    }
    guard !builder.caches.values.contains(where: { $0.folder.path == path }) else {
      throw Refusal("another cache has the folder \"\(path)\"", argument: 0)
    }
    var settings = CacheZoneSettings(
      name: zone.name, folder: CacheFolder(path: path, levels: levels), byteCount: zone.byteCount)
    (settings.inactive, settings.maxByteCount) = (other.inactive, other.maxByteCount)
    settings.minFreeByteCount = other.minFreeByteCount
    (settings.manager, settings.loader) = (other.manager, other.loader)
    builder.temporaryPaths.insert(path)
    builder.caches[zone.name] = builder.surroundings.caches.zone(for: settings)
  }

  private static func setCacheParameter(
    _ directive: Directive, _ index: Int, _ settings: inout CacheZoneSettings
  ) throws(Refusal) {
    // Bound: files of one turn, and pauses, that make sense by a wide margin.
    let files = 1...1_000_000
    if let value = directive.parameter("inactive", index) {
      settings.inactive = try directive.seconds(value, index) * 1000
    } else if let value = directive.parameter("max_size", index) {
      settings.maxByteCount = try directive.size(value, index)
    } else if let value = directive.parameter("min_free", index) {
      settings.minFreeByteCount = try directive.size(value, index)
    } else if let value = directive.parameter("manager_files", index) {
      settings.manager.files = try directive.number(value, index, files)
    } else if let value = directive.parameter("manager_sleep", index) {
      settings.manager.sleep = try directive.time(value, index)
    } else if let value = directive.parameter("manager_threshold", index) {
      settings.manager.threshold = try directive.time(value, index)
    } else if let value = directive.parameter("loader_files", index) {
      settings.loader.files = try directive.number(value, index, files)
    } else if let value = directive.parameter("loader_sleep", index) {
      settings.loader.sleep = try directive.time(value, index)
    } else if let value = directive.parameter("loader_threshold", index) {
      settings.loader.threshold = try directive.time(value, index)
    } else if let value = directive.parameter("use_temp_path", index) {
      guard value == "on" || value == "off" else {
        throw Refusal(
          "\"use_temp_path\" must be \"on\" or \"off\", not \"\(value)\"", argument: index)
      }
    } else if directive.text(index).hasPrefix("purger") {
      throw Refusal("\"\(directive.text(index))\": purging is not supported", argument: index)
    } else {
      throw directive.unknownParameter(index, pathParameters)
    }
  }

  private static func cacheLevels(_ text: String, _ index: Int) throws(Refusal) -> [Int] {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let levels = parts.compactMap { $0 == "1" ? 1 : $0 == "2" ? 2 : nil }
    guard levels.count == parts.count, (1...3).contains(levels.count) else {
      throw Refusal(
        "invalid \"levels=\(text)\"; write one to three of 1 and 2, such as \"levels=1:2\"",
        argument: index)
    }
    return levels
  }

  // --- locations ---------------------------------------------------------------------------------

  private static func cacheSource(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> CacheSettings.Source? {
    let name = directive.text(0)
    if name == "off" { return nil }
    let template = try scope.template(directive, 0)
    guard template.isConstant else { return .variable(template) }
    if let zone = scope.builder.caches[name] { return .zone(zone) }
    var message = "there is no \"proxy_cache_path\" with a zone \"\(name)\""
    if let nearest = nearestName(to: name, among: Array(scope.builder.caches.keys)) {
      message += "; did you mean \"\(nearest)\"?"
    }
    throw Refusal(message, argument: 0)
  }

  private static func validities(
    _ directive: Directive
  ) throws(Refusal) -> [CacheSettings.Validity] {
    let last = directive.arguments.count - 1
    let seconds = try directive.seconds(directive.text(last), last)
    if last == 0 {
      return [200, 301, 302].map { CacheSettings.Validity(status: $0, seconds: seconds) }
    }
    var list: [CacheSettings.Validity] = []
    for index in 0..<last {
      let status = directive.text(index) == "any" ? 0 : try directive.number(index, 100...599)
      list.append(CacheSettings.Validity(status: status, seconds: seconds))
    }
    return list
  }

  private static func cacheMethods(_ directive: Directive) throws(Refusal) -> [Method] {
    var methods: [Method] = []
    for index in directive.arguments.indices {
      let text = directive.text(index).uppercased()
      guard let method = Method.allCases.first(where: { $0 != .other && $0.name.string == text })
      else { throw Refusal("\"\(text)\" is not a method", argument: index) }
      methods.append(method)
    }
    return methods
  }

  private static let staleFailures: [(String, NextUpstream)] = [
    ("error", .error), ("timeout", .timeout), ("invalid_header", .invalidHeader),
    ("http_500", .http500), ("http_502", .http502), ("http_503", .http503), ("http_504", .http504),
    ("http_403", .http403), ("http_404", .http404), ("http_429", .http429), ("updating", []),
    ("off", []),
  ]

  private static func conditionRow(
    _ name: String, _ path: ReferenceWritableKeyPath<Scope, [Template]>, _ summary: String
  ) -> Row {
    Row(name, .httpServerLocation, 1...1000, summary) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope[keyPath: path] = [] }
      for index in directive.arguments.indices {
        scope[keyPath: path].append(try scope.template(directive, index))
      }
    }.repeatable()
  }
}

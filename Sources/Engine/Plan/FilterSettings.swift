// Settings of what may be done to bodies of responses: compressing, decompressing, recoding.

import Configuration
import HTTP

/// The body filters of a location.
struct FilterSettings {
  var gzip = GzipSettings()
  var gunzips = false
  var precompressed = GzipStatic.off
  var charset = CharsetSettings()
  var substitute = SubstituteSettings()
  var ssi = SSISettings()
  var addition = AdditionSettings()
  /// Whether texts become others: what they say is not for clients, or not all that is.
  var changesText: Bool { ssi.isOn || addition.isOn || !substitute.pairs.isEmpty }
  /// Whether any filter may have something to do; computed by `settle`.
  var isActive = false
}

/// The `gzip_` directives.
struct GzipSettings {
  var isOn = false
  var types = MediaTypeSet()
  var leastLength = 20
  var level = 1
  /// How many bytes of compressed output may wait for a client.
  var bufferBytes = 128 << 10
  var leastMinorVersion = 1
  var proxied: GzipProxied = []
  var varies = false
  /// `gzip_disable`: clients that get nothing compressed, by their User-Agent.
  var disabled: [Regex] = []
  var disabledBrowsers: BrowserSet = []
}

/// `gzip_static`.
enum GzipStatic: String, CaseIterable { case off, on, always }

/// `gzip_proxied`: which responses to requests that came through a proxy are compressed.
struct GzipProxied: OptionSet {
  let rawValue: Int
  static let off = GzipProxied(rawValue: 1)
  static let any = GzipProxied(rawValue: 2)
  static let expired = GzipProxied(rawValue: 4)
  static let noCache = GzipProxied(rawValue: 8)
  static let noStore = GzipProxied(rawValue: 16)
  static let `private` = GzipProxied(rawValue: 32)
  static let noLastModified = GzipProxied(rawValue: 64)
  static let noETag = GzipProxied(rawValue: 128)
  static let auth = GzipProxied(rawValue: 256)

  /// By the words of the directive.
  static let names: [(String, GzipProxied)] = [
    ("off", .off), ("expired", .expired), ("no-cache", .noCache), ("no-store", .noStore),
    ("private", .private), ("no_last_modified", .noLastModified), ("no_etag", .noETag),
    ("auth", .auth), ("any", .any),
  ]
}

/// The `charset` directives.
struct CharsetSettings {
  /// A set that the configuration names, or one that each exchange computes.
  enum Choice {
    case none
    /// The number of a set.
    case named(Int)
    case computed(Template)
  }

  var destination = Choice.none
  var source = Choice.none
  var overrides = false
  var types = MediaTypeSet([
    "text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript",
    "application/rss+xml",
  ])
}

// What a location says of caching, as the data path reads it
// (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache).

import HTTP

/// The `proxy_cache…` directives of a location.
struct CacheSettings {
  /// Which cache.
  enum Source {
    case zone(CacheZone)
    /// Its name is known only per exchange.
    case variable(Template)
  }

  /// How long responses are fresh that don't say so themselves.
  struct Validity {
    /// 0: any status.
    let status: Int
    let seconds: Int
  }

  /// nil: nothing is cached.
  var source: Source?
  /// nil: protocol, host and target of the upstream's request.
  var key: Template?
  /// Whether the key names the request's body, or what may have been made of it.
  var keyMayHoldBody: Bool {
    key?.parts.contains { part in
      switch part {
      case .variable(.builtin(.request(.request_body))), .variable(.slot), .variable(.map): true
      default: false
      }
    } ?? false
  }
  var validities: [Validity] = []
  /// GET and HEAD always are among them.
  var methods: [Method] = []
  var leastUses = 1
  /// One that is neither empty nor "0": the cache isn't asked.
  var bypass: [Template] = []
  /// The same: nothing is stored.
  var exclusions: [Template] = []
  var staleUses = StaleUses()
  var updatesInBackground = false
  var locks = false
  var lockAge: Milliseconds = 5_000
  var lockTimeout: Milliseconds = 5_000
  var revalidates = false
  var convertsHead = true
  /// Ranges that begin behind this are the upstream's affair; nil: none are.
  var maxRangeOffset: Int?
}

extension [CacheSettings.Validity] {
  /// How long a response of `status` is fresh by `proxy_cache_valid`, in seconds; 0: not at all.
  func seconds(for status: Int) -> Int {
    for validity in self where validity.status == 0 || validity.status == status {
      return validity.seconds
    }
    return 0
  }
}

/// `proxy_cache_use_stale`.
struct StaleUses {
  /// When the upstream fails so.
  var failures = NextUpstream()
  /// While somebody fetches it anew.
  var whileUpdating = false
}

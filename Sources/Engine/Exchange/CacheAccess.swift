// What an exchange has to do with a cache, from the look-up to the file in its place; there is one
// object for each exchange whose location caches, none otherwise.

import HTTP

/// `$upstream_cache_status`.
enum CacheStatus: UInt8 {
  case none, miss, bypass, expired, stale, updating, revalidated, hit

  var text: Bytes? {
    switch self {
    case .none: nil
    case .miss: Bytes("MISS")
    case .bypass: Bytes("BYPASS")
    case .expired: Bytes("EXPIRED")
    case .stale: Bytes("STALE")
    case .updating: Bytes("UPDATING")
    case .revalidated: Bytes("REVALIDATED")
    case .hit: Bytes("HIT")
    }
  }
}

/// One use of a cache.
final class CacheAccess {
  let zone: CacheZone
  /// What the response is stored by; lives as long as the exchange.
  let text: Bytes
  let mainKey: CacheKey
  /// `mainKey`, or that of the variant that this request gets.
  var key: CacheKey
  /// The use of `key` was counted.
  var isCounted = false
  /// The right to fetch; 0: somebody else may have it.
  var ticket: UInt64 = 0
  /// The exchange fetches what somebody else was given stale.
  let isBackground: Bool
  /// HEAD goes to the upstream as GET.
  var convertsHead = false
  /// Where it waits for another one's response.
  var place = CacheQueue.none
  /// When that ends; nil: it has not begun.
  var waitEnd: Milliseconds?
  var isWaitOver = false

  /// What the worker had in memory, if the zone says that it still holds.
  let hot: HotResponse?
  /// What was found, fresh or not.
  var stored: StoredResponse?

  /// What the upstream answers may be stored, as far as is known.
  var mayStore = true
  /// Seconds since 1970; 0: the response doesn't say.
  var freshUntil = 0
  var staleWhileUpdating = 0
  var staleIfError = 0
  var vary = Bytes()
  /// The error that is remembered instead of a response; 0: none.
  var errorStatus = 0
  /// The file that is being written.
  var draft: CacheDraft?

  init(_ zone: CacheZone, _ text: Bytes, _ hot: HotResponse?) {
    self.zone = zone
    self.text = text
    self.hot = hot
    isBackground = false
    mainKey = hot?.response.header.digest ?? CacheKey(of: [text])
    key = mainKey
  }

  /// The access of the exchange that fetches in the background what `access` found stale.
  init(updating access: CacheAccess, _ text: Bytes) {
    zone = access.zone
    self.text = text
    mainKey = access.mainKey
    key = access.key
    ticket = access.ticket
    convertsHead = access.convertsHead
    hot = nil
    isBackground = true
    isCounted = true
  }

  var isVariant: Bool { key != mainKey }

  /// Forgets what a response said, for the next one.
  func forgetResponse() {
    freshUntil = 0
    staleWhileUpdating = 0
    staleIfError = 0
    vary = Bytes()
  }
}

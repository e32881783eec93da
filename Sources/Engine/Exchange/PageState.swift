// What the commands of a page know while it is made, its includes' commands too, and the bounds of
// that.

import HTTP

/// The memory of server-side includes. One for a request and all requests that it makes.
final class PageState {
  // Bound: what commands of one request may keep, in bytes. Values lie in the arena of the request.
  private static let capacity = 4 << 20
  // Bound: a command costs this much at least: about 65,000 a request.
  private static let commandCost = 64
  // Bound: includes of one request, at any depth. A page that includes itself twice ends here.
  private static let mostIncludes = 1000
  /// Bound: how deep pages include each other, as in nginx.
  static let mostDepth = 50

  /// By `set`, by `include` with `set`, and by the groups of an expression.
  var variables: [String: Bytes] = [:]
  var blocks: [String: Bytes] = [:]
  /// `config errmsg`.
  var errorText = Bytes("[an error occurred while processing the directive]")
  /// `config timefmt`, ended by 0; nil: `defaultTimeFormat`.
  var timeFormat: [CChar]?
  private var bytesLeft = PageState.capacity
  private var includesLeft = PageState.mostIncludes

  /// Counts a command that keeps up to `count` bytes; false: that is too much.
  func charge(_ count: Int) -> Bool {
    bytesLeft -= count + Self.commandCost
    return bytesLeft >= 0
  }

  /// Counts an include; false: there were too many.
  func chargeInclude() -> Bool {
    includesLeft -= 1
    return includesLeft >= 0
  }
}

// `proxy_store` and `proxy_store_access` (https://nginx.org/r/proxy_store).

import Configuration
import HTTP

/// Whether and where responses of upstreams are kept as files.
struct StoreSettings {
  enum Place {
    case none
    /// Where the location would look for a file.
    case location
    case path(Template)
  }

  var place = Place.none
  /// Permission bits of the files.
  var mode: UInt32 = 0o600
}

extension Row {
  static let storeRows: [Row] = [
    Row(
      "proxy_store", .httpServerLocation, 1...1,
      """
      Whether upstreams' complete 200s to GET are kept as files: where `root` or `alias` would \
      look (`on`), or at a path. They are written in the file's own folder.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      switch directive.text(0) {
      case "off": scope.location.proxy.store.place = .none
      case "on": scope.location.proxy.store.place = .location
      case "": throw Refusal("\"proxy_store\" needs \"on\", \"off\" or a path", argument: 0)
      default: scope.location.proxy.store.place = .path(try scope.template(directive, 0))
      }
    },
    Row(
      "proxy_store_access", .httpServerLocation, 1...3,
      "Who may read and write those files: `user:`, `group:` and `all:` with `r`, `w` or `rw`.",
      standard: "user:rw"
    ) { scope, directive throws(Refusal) in
      scope.location.proxy.store.mode = try accessMode(directive)
    },
  ]

  /// The permission bits of words such as `group:rw`; the owner may always read and write.
  private static func accessMode(_ directive: Directive) throws(Refusal) -> UInt32 {
    let shifts = ["user": 6, "group": 3, "all": 0]
    var mode: UInt32 = 0o600
    for index in directive.arguments.indices {
      let parts = directive.text(index).split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let shift = shifts[String(parts[0])],
        let bits = ["r": 4, "w": 2, "rw": 6][String(parts[1])] as UInt32?
      else {
        throw Refusal(
          "\"\(directive.text(index))\" is no access; write \"user:rw\", \"group:r\" or \"all:r\"",
          argument: index)
      }
      mode |= bits << UInt32(shift)
    }
    return mode
  }
}

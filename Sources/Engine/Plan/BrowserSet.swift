// Browsers that `gzip_disable msie6` and `keepalive_disable` are about, told by their User-Agent.

import HTTP

/// Browsers that some directives treat with care.
struct BrowserSet: OptionSet {
  let rawValue: UInt8

  /// Internet Explorer 4 to 6, but for the version 6 of Windows XP's Service Pack 2 ("SV1").
  static let oldExplorer = BrowserSet(rawValue: 1)
  /// Safari, and what calls itself that, on Apple's systems.
  static let safari = BrowserSet(rawValue: 2)

  /// Whether the User-Agent `agent` is that of one of these browsers, by nginx's rules.
  func contains(agent: Bytes) -> Bool {
    if contains(.oldExplorer) && Self.isOldExplorer(agent) { return true }
    return contains(.safari) && Self.isSafari(agent)
  }

  private static func isOldExplorer(_ agent: Bytes) -> Bool {
    guard let start = agent.firstIndex(of: Bytes("MSIE ")), start + 6 < agent.count else {
      return false
    }
    let version = agent[start + 5]
    guard agent[start + 6] == UInt8(ascii: "."), !agent.contains(Bytes("Opera")) else {
      return false
    }
    if version == UInt8(ascii: "6") { return !agent.contains(Bytes("SV1")) }
    return version == UInt8(ascii: "4") || version == UInt8(ascii: "5")
  }

  /// Chrome, Firefox, Opera and the Explorer name others in their own User-Agent.
  private static func isSafari(_ agent: Bytes) -> Bool {
    guard agent.contains(Bytes("Safari/")), agent.contains(Bytes("Mac OS X")) else { return false }
    return !agent.contains(Bytes("Chrome/")) && !agent.contains(Bytes("Gecko/"))
      && !agent.contains(Bytes("Opera")) && !agent.contains(Bytes("MSIE "))
  }
}

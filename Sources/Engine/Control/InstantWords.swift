// The words of `portico serve` and `portico proxy`, checked before a configuration is made of them:
// nobody wants to read about the lines of a file that they didn't write.

import CLinux
import HTTP

extension InstantConfiguration {
  /// Why a word of the command line can't be used.
  public struct Invalid: Error, CustomStringConvertible {
    public let description: String

    init(_ message: String) { description = message }
  }

  /// Checks that `path` is a folder; relative to the working folder.
  public static func checkFolder(_ path: String) throws(Invalid) {
    let full = ProcessFiles.absolute(path, in: ProcessFiles.workingFolder)
    switch unsafe FileStatus.of(path: full) {
    case .success(let status):
      if status.kind != .directory { throw Invalid("\"\(path)\" is not a folder") }
    case .failure(let error):
      if error.code == ENOENT { throw Invalid("no such folder: \"\(path)\"") }
      throw Invalid("the folder \"\(path)\" can't be used \(error.logText)")
    }
  }

  /// What an `upstream` says for a server that people write as `HOST:PORT`, `HOST`, `PORT`,
  /// `:PORT`, `http://HOST:PORT/` or `unix:/PATH`. A port alone is one of this machine.
  public static func server(_ word: String) throws(Invalid) -> String {
    var rest = Substring(word)
    if rest.hasPrefix("https://") {
      throw Invalid(
        "\"\(word)\": servers are spoken to by plain HTTP; for TLS to them write a "
          + "configuration with \"proxy_pass https://…\"")
    }
    if rest.hasPrefix("http://") {
      rest = rest.dropFirst("http://".count)
      if rest.hasSuffix("/") { rest.removeLast() }
    }
    let digits = rest.hasPrefix(":") ? rest.dropFirst() : rest
    if !digits.isEmpty, digits.utf8.allSatisfy({ ASCII.isDigit($0) }) {
      rest = "127.0.0.1:" + digits
    }
    let text = String(rest)
    guard isPlain(text), HostPort(text, defaultPort: 80) != nil else {
      throw Invalid("\"\(word)\" is not an address such as 127.0.0.1:3000, app:3000 or 3000")
    }
    return text
  }

  /// Checks that `word` is an address to listen at.
  public static func checkListenAddress(_ word: String) throws(Invalid) {
    guard SocketAddress(literal: word, port: 0) != nil else {
      throw Invalid("\"\(word)\" is not an IP address to listen at, such as 127.0.0.1 or ::1")
    }
  }

  /// Whether a word has nothing that would end a directive or mean a variable.
  private static func isPlain(_ word: String) -> Bool {
    word.utf8.allSatisfy { byte in
      byte > 0x20 && byte < 0x7f && !"\"'{};#\\$".utf8.contains(byte)
    }
  }
}

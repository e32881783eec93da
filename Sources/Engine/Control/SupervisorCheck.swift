// `portico check URL`: one GET, for health checks of containers that have no other client. And the
// few things that the command line needs besides.

import CLinux
import Configuration

extension FrontDoor {
  /// The version of portico.
  public static var version: String { Version.number }

  /// What this binary was made with, for `-V`.
  public static var buildDescription: String {
    let hybrid = "X25519MLKEM768"
    let exchange = TLSAbilities.hasGroup(hybrid) ? hybrid : "none, it comes with OpenSSL 3.5"
    let compression = TLSAbilities.compressesCertificates
    return """
      running with \(TLSAbilities.version)
      TLS SNI support enabled
      post-quantum key exchange: \(exchange)
      certificate compression: \(compression ? "available" : "none, it comes with OpenSSL 3.2")
      prefix: \(StartOptions.defaultPrefix)
      configuration: \(StartOptions.defaultConfigurationPath)

      """
  }

  /// `; did you mean "x"?` behind a word that isn't one of `names`; empty if none is near.
  public static func suggestion(for word: String, among names: [String]) -> String {
    Configuration.suggestion(for: word, among: names)
  }

  /// What to say when the configuration file isn't there: `name` is what `-c` gave.
  public static func hint(_ options: StartOptions, named name: String?) -> String? {
    guard case .failure(let error) = unsafe FileStatus.of(path: options.configurationPath),
      error.code == ENOENT
    else { return nil }
    guard let name else {
      return "name a configuration with \"-c FILE\", or try \"portico serve\" without one"
    }
    let here = ProcessFiles.absolute(name, in: ProcessFiles.workingFolder)
    guard case .success = unsafe FileStatus.of(path: here) else { return nil }
    return
      "\"\(name)\" is looked for in the prefix, \"\(options.prefix)\", as by nginx; the one in "
      + "this folder is \"\(here)\""
  }

  /// Writes to standard error.
  public static func say(_ text: String) { SupervisorLog.say(text) }

  /// Ends the process without running exit handlers: libraries must not be taken down while threads
  /// use them.
  public static func exit(_ code: Int32) -> Never {
    linux_exit_at_once(code)
    preconditionFailure("the process outlived its end")
  }

  /// Asks `url` once; 0 if it answered 2xx or 3xx, otherwise 1 and a line that says why.
  public static func check(_ url: String, timeoutSeconds: Int) -> Int32 {
    guard let place = HTTPURL(url) else {
      return checkFailed("\"\(url)\" is not an http:// URL")
    }
    let fd = unsafe linux_connect_name(
      place.host, String(place.port), Int32(clamping: timeoutSeconds * 1000))
    if fd < 0 {
      let error = SystemError(code: Int32(truncatingIfNeeded: -fd))
      return checkFailed("connect to \(place.host):\(place.port) failed \(error.logText)")
    }
    defer { _ = linux_close(Int32(fd)) }
    let request =
      "GET \(place.target) HTTP/1.1\r\nHost: \(place.authority)\r\nUser-Agent: portico-check\r\n"
      + "Connection: close\r\n\r\n"
    do {
      try ProcessFiles.writeAll(Int32(fd), Array(request.utf8))
    } catch {
      return checkFailed("the request couldn't be sent \(error.logText)")
    }
    guard let status = readStatus(Int32(fd)) else {
      return checkFailed("no HTTP answer within \(timeoutSeconds) s")
    }
    return (200..<400).contains(status) ? 0 : checkFailed("\(url) answered \(status)")
  }

  private static func checkFailed(_ message: String) -> Int32 {
    say("portico: check failed: \(message)\n")
    return 1
  }

  /// The status of the first line: "HTTP/1.1 200 OK".
  private static func readStatus(_ fd: Int32) -> Int? {
    var line: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 256)
    // The first twelve bytes hold the status.
    while line.count < 12 {
      let count = unsafe linux_read(fd, &piece, piece.count)
      if count <= 0 { return nil }
      line += piece[..<Int(count)]
    }
    let text = String(decoding: line[..<12], as: UTF8.self)
    guard text.hasPrefix("HTTP/1."), text.dropFirst(8).hasPrefix(" ") else { return nil }
    return Int(text.dropFirst(9))
  }
}

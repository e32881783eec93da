// Lines of the error log about one exchange, in nginx's form, so that what reads nginx's logs reads
// these: the message, then what was being done for whom.
//
//   connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.7,
//   server: a.example, request: "GET /a HTTP/1.1", upstream: "http://10.0.0.3:8080/a", host: "a"
//
// Nothing of a line is made before it is known that it will be written.

import HTTP

extension Exchange {
  /// Where this exchange's messages go.
  private var errorLog: ErrorLog {
    guard let settings = location.settings.log.value.errorLogs else { return core.errorLog }
    return core.errorLog(for: settings)
  }

  /// A line in the error log, with what was being done.
  func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
    guard errorLog.takes(level) else { return }
    var line = message() + ", client: \(clientText), server: \(site.primaryName.string)"
    if !headBytes.isEmpty {
      line += ", request: \"\(requestLine.string)\""
    }
    if isInner { line += ", subrequest: \"\(uri.string)\"" }
    if let url = upstreamURL { line += ", upstream: \"\(url)\"" }
    if !host.isEmpty { line += ", host: \"\(host.string)\"" }
    errorLog.write(level, line, connection: connection.serial)
  }

  /// What is being asked: "http://10.0.0.3:8080/a", "https://unix:/run/app.sock:/a", or with the
  /// upstream's name while no server is chosen; nil if no upstream is.
  private var upstreamURL: String? {
    guard attempt.isActive || state == .attempting, let group = attempt.group else { return nil }
    let proxy = location.settings.proxy.value
    let scheme = (proxy.isGRPC ? "grpc" : "http") + (proxyIsTLS ? "s" : "")
    let server = attempt.peer?.name.string ?? group.settings.displayName
    let separator = attempt.peer?.address.isUnix == true ? ":" : ""
    return "\(scheme)://\(server)\(separator)\(quoted(upstreamTarget))"
  }

  /// What is wrong with the head of a response, with the line that isn't one.
  func invalidHeadText(_ input: Bytes, _ error: HeadError) -> String {
    if error == .tooManyFields { return "upstream sent too many header lines" }
    // Bound: what tells people who it is that answers.
    let rest = input.dropping(attempt.parser.failedLineStart)
    let line = rest.prefix(min(rest.count, 128))
    let end = (0..<line.count).first { line[$0] == 10 || line[$0] == 13 } ?? line.count
    let text = quoted(line.prefix(end))
    return attempt.parser.failedLineStart == 0
      ? "upstream sent no valid HTTP/1.0 header (answer is not HTTP: \"\(text)\")"
      : "upstream sent invalid header: \"\(text)\""
  }

  /// `bytes` as they may stand between quotes in a line.
  private func quoted(_ bytes: Bytes) -> String {
    let room = LogEscape.default.worstCaseCount(of: bytes.count)
    let buffer = Buffer(capacity: max(room, 1))
    buffer.produced(LogEscape.write(bytes, .default, into: buffer.free))
    return buffer.unread.string
  }
}

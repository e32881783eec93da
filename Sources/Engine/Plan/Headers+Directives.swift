// Directives of ngx_http_headers_module and ngx_http_log_module
// (https://nginx.org/en/docs/http/ngx_http_headers_module.html, ngx_http_log_module.html).

import Configuration
import HTTP

extension Row {
  static let headerRows: [Row] = [
    Row("add_header", .anyHTTP, 2...3, "Adds a field to responses; `always`: to errors too.") { scope, directive throws(Refusal) in
      if scope.isFirst(directive) {
        let hidden = scope.location.headers.added.map { $0.name.string }
        if !hidden.isEmpty && scope.context != .http {
          scope.warn(
            "this \"add_header\" hides those inherited from outside: \(hidden.joined(separator: ", "))", directive.name)
        }
        scope.location.headers.added = []
      }
      var always = false
      if directive.arguments.count > 2 {
        guard directive.text(2) == "always" else { throw directive.unknownParameter(2, ["always"]) }
        always = true
      }
      scope.location.headers.added.append(
        AddedHeader(name: try fieldName(scope, directive, 0), value: try scope.template(directive, 1), always: always))
    }.repeatable(),
    Row("add_trailer", .anyHTTP, 2...3, "Adds a field behind the body of responses; `always`: of errors too.") { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.headers.trailers = [] }
      if directive.arguments.count > 2, directive.text(2) != "always" {
        throw directive.unknownParameter(2, ["always"])
      }
      scope.location.headers.trailers.append(
        AddedHeader(
          name: try fieldName(scope, directive, 0), value: try scope.template(directive, 1),
          always: directive.arguments.count > 2))
    }.repeatable(),
    Row("expires", .anyHTTP, 1...2, "Sets Expires and Cache-Control.", standard: "off") { scope, directive throws(Refusal) in
      let text = directive.arguments.map(\.text).joined(separator: " ")
      if text.contains("$") {
        let isModified = directive.arguments.count > 1 && directive.text(0) == "modified"
        scope.location.headers.expires = .variable(
          try scope.template(directive, directive.arguments.count - 1), modified: isModified)
      } else if let value = ExpiresValue.parse(text) {
        scope.location.headers.expires = value
      } else {
        throw Refusal("\"expires\" must be a time, \"@\" and a time of day, \"epoch\", \"max\" or \"off\", not \"\(text)\"", argument: 0)
      }
    },
    Row("log_format", .http, 2...1000, "Names a form of access log lines.") { scope, directive throws(Refusal) in
      let name = directive.text(0)
      guard scope.builder.formats[name] == nil else {
        throw Refusal("duplicate \"log_format\" name \"\(name)\"", argument: 0)
      }
      var escape = LogEscape.default
      var first = 1
      if let value = directive.parameter("escape", 1) {
        switch value {
        case "default": escape = .default
        case "json": escape = .json
        case "none": escape = .none
        default: throw Refusal("\"escape\" must be \"default\", \"json\" or \"none\", not \"\(value)\"", argument: 1)
        }
        first = 2
      }
      let text = directive.arguments.dropFirst(first).map(\.text).joined()
      scope.builder.formats[name] = LogFormat(template: try scope.template(text, first), escape: escape)
    }.repeatable().at(.definition),
    Row("access_log", .anyHTTP, 1...1000, "Where requests are logged, and how.", standard: "logs/access.log combined") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.log.accessLogs = [] }
      if directive.text(0) == "off" {
        scope.location.log.accessLogs = []
        return
      }
      let log = try accessLog(scope, directive)
      scope.location.log.accessLogs.append(log)
    }.repeatable(),
    .noEffect("open_log_file_cache", .httpServerLocation, 1...4, "Accepted for nginx's sake: log files stay open."),
    .noEffect("log_subrequest", .httpServerLocation, 1...1, "Accepted for nginx's sake: there are no subrequests to log."),
  ]

  static func fieldName(_ scope: Scope, _ directive: Directive, _ index: Int) throws(Refusal) -> Bytes {
    let text = directive.text(index)
    let allowed = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !#"()<>@,;:\"/[]?={}"#.utf8.contains($0) }
    guard allowed, !text.isEmpty else {
      throw Refusal("\"\(text)\" can't be the name of a field", argument: index)
    }
    return scope.bytes(text)
  }

  private static func accessLog(_ scope: Scope, _ directive: Directive) throws(Refusal) -> AccessLogSettings {
    let path = directive.text(0)
    if path.hasPrefix("syslog:") || path.contains("$") {
      throw Refusal("\"access_log\" to \"\(path)\" is not supported; name a file", argument: 0)
    }
    var name = "combined"
    var log = AccessLogSettings(path: path, format: try format(scope, name, nil))
    for index in directive.arguments.indices.dropFirst() {
      if let value = directive.parameter("buffer", index) {
        log.bufferBytes = try directive.size(value, index)
      } else if let value = directive.parameter("flush", index) {
        log.flush = try directive.time(value, index)
      } else if let value = directive.parameter("if", index) {
        log.condition = try scope.template(value, index)
      } else if index == 1 {
        name = directive.text(1)
        log.format = try format(scope, name, 1)
      } else {
        throw directive.unknownParameter(index, ["buffer=", "flush=", "if="])
      }
    }
    return log
  }

  private static func format(_ scope: Scope, _ name: String, _ index: Int?) throws(Refusal) -> LogFormat {
    if let format = scope.builder.formats[name] { return format }
    guard name == "combined" else {
      var message = "unknown log format \"\(name)\""
      if let nearest = nearestName(to: name, among: Array(scope.builder.formats.keys) + ["combined"]) {
        message += "; did you mean \"\(nearest)\"?"
      }
      throw Refusal(message, argument: index)
    }
    let text =
      "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
      + "\"$http_referer\" \"$http_user_agent\""
    let format = LogFormat(template: try scope.template(text, nil), escape: .default)
    scope.builder.formats[name] = format
    return format
  }
}

// Directives of ngx_http_log_module (https://nginx.org/en/docs/http/ngx_http_log_module.html).

import Configuration
import HTTP

extension Row {
  static let logRows: [Row] = [
    Row("log_format", .http, 2...1000, "Names a form of access log lines.") {
      scope, directive throws(Refusal) in
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
        default:
          throw Refusal(
            "\"escape\" must be \"default\", \"json\" or \"none\", not \"\(value)\"", argument: 1)
        }
        first = 2
      }
      // Each word by itself: a variable ends with it.
      var parts: [Template.Part] = []
      for index in directive.arguments.indices.dropFirst(first) {
        parts += try scope.template(directive, index).parts
      }
      scope.builder.formats[name] = LogFormat(template: Template(parts: parts), escape: escape)
    }.repeatable().at(.definition),
    Row(
      "access_log", .anyHTTP.union(.limitExcept), 1...1000,
      "Where requests are logged, and how: a file or `syslog:server=ADDRESS,…`.",
      standard: "logs/access.log combined"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.log.accessLogs = [] }
      if directive.text(0) == "off" {
        guard directive.arguments.count == 1 else {
          throw Refusal("invalid parameter \"\(directive.text(1))\" behind \"off\"", argument: 1)
        }
        scope.location.log.accessLogs = []
        return
      }
      let log = try accessLog(scope, directive)
      scope.location.log.accessLogs.append(log)
    }.repeatable(),
    Row(
      "open_log_file_cache", .httpServerLocation, 1...4,
      "How many logs with variables in their path stay open, and for how long unused.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.log.fileCache = try logFileCache(directive)
    },
    .flag(
      "log_subrequest", .httpServerLocation, \.location.log.logsInner, "off",
      "Whether requests that others make (`auth_request`, `include`, `mirror`) are logged."),
  ]

  private static func accessLog(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> AccessLogSettings
  {
    var log = AccessLogSettings(
      path: directive.text(0), format: try format(scope, "combined", nil))
    log.syslog = try SyslogTarget.parse(scope, directive)
    if log.syslog == nil {
      let template = try scope.template(directive, 0)
      if !template.isConstant { log.computedPath = template }
    }
    var buffering = LogBuffering()
    for index in directive.arguments.indices.dropFirst() {
      let key = directive.text(index).prefix { $0 != "=" }
      if log.syslog != nil && ["buffer", "flush", "gzip"].contains(key) {
        throw Refusal("logs to syslog can't be buffered: without \"\(key)\"", argument: index)
      }
      if let value = directive.parameter("buffer", index) {
        buffering.byteCount = try directive.size(value, index)
        if buffering.byteCount == 0 {
          throw Refusal("\"buffer\" must be a size above 0", argument: index)
        }
      } else if let value = directive.parameter("flush", index) {
        buffering.flush = try directive.time(value, index)
      } else if directive.text(index) == "gzip" {
        buffering.gzipLevel = 1
      } else if let value = directive.parameter("gzip", index) {
        buffering.gzipLevel = try directive.number(value, index, 1...9)
      } else if let value = directive.parameter("if", index) {
        log.condition = try scope.template(value, index)
      } else if index == 1 {
        log.format = try format(scope, directive.text(1), 1)
      } else {
        throw directive.unknownParameter(index, ["buffer=", "gzip=", "flush=", "if="])
      }
    }
    try join(&buffering, of: log, scope)
    return log
  }

  /// Lines of one path share one buffer, whatever block they come from.
  private static func join(
    _ buffering: inout LogBuffering, of log: AccessLogSettings, _ scope: Scope
  ) throws(Refusal) {
    if buffering.gzipLevel != nil && buffering.byteCount == 0 { buffering.byteCount = 64 << 10 }
    if buffering.byteCount == 0 {
      if buffering.flush == nil { return }
      throw Refusal(
        "\"flush\" needs \"buffer\" or \"gzip\": without one every line is written at once")
    }
    if log.computedPath != nil {
      throw Refusal("a log with variables in its path can't be buffered", argument: 0)
    }
    if let other = scope.builder.logBuffering[log.path], other != buffering {
      throw Refusal(
        "\"\(log.path)\" is written by another \"access_log\" with another buffer", argument: 0)
    }
    scope.builder.logBuffering[log.path] = buffering
  }

  private static func logFileCache(_ directive: Directive) throws(Refusal) -> LogFileCacheSettings?
  {
    if directive.text(0) == "off" { return nil }
    var settings = LogFileCacheSettings(max: 0)
    for index in directive.arguments.indices {
      if let value = directive.parameter("max", index) {
        settings.max = try directive.number(value, index, 1...(1 << 16))
      } else if let value = directive.parameter("inactive", index) {
        settings.inactive = try directive.longTime(value, index)
      } else if let value = directive.parameter("min_uses", index) {
        settings.minUses = try directive.number(value, index, 1...Int.max)
      } else if let value = directive.parameter("valid", index) {
        settings.valid = try directive.longTime(value, index)
      } else {
        throw directive.unknownParameter(
          index, ["max=", "inactive=", "min_uses=", "valid=", "off"])
      }
    }
    guard settings.max > 0 else { throw Refusal("\"open_log_file_cache\" needs \"max=NUMBER\"") }
    return settings
  }

  private static func format(_ scope: Scope, _ name: String, _ index: Int?) throws(Refusal)
    -> LogFormat
  {
    if let format = scope.builder.formats[name] { return format }
    guard name == "combined" else {
      var message = "unknown log format \"\(name)\""
      if let nearest = nearestName(
        to: name, among: Array(scope.builder.formats.keys) + ["combined"])
      {
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

// Directives outside http, and in events
// (https://nginx.org/en/docs/ngx_core_module.html).

import CLinux
import Configuration

extension Row {
  static let mainRows: [Row] = [
    Row(
      "user", .main, 1...2,
      """
      The user, and group, that worker processes run as. A reload that changes it starts another \
      worker process; the one before drains.
      """,
      standard: "nobody"
    ) { scope, directive throws(Refusal) in
      if !scope.builder.surroundings.isPrivileged {
        scope.builder.diagnostics.warn(
          "\"user\" is ignored: only root can become somebody else", at: directive.name)
      }
      scope.main.user = directive.text(0)
      if directive.arguments.count > 1 { scope.main.group = directive.text(1) }
    },
    .flag(
      "daemon", .main, \.main.isDaemon, "off",
      "Whether to go to the background; off unlike nginx's, since containers and systemd want that."
    ),
    .flag(
      "master_process", .main, \.main.hasMasterProcess, "on",
      "Whether a supervisor watches over the worker process."),
    Row(
      "worker_processes", .main, 1...1, "The number of worker threads; `auto`: one a processor.",
      standard: "1"
    ) { scope, directive throws(Refusal) in
      let (word, range) = (directive.text(0), 1...1024)
      guard word == "auto" || Int(word).map(range.contains) == true else {
        throw Refusal(
          "\"worker_processes\" must be \"auto\" or between 1 and 1024, not \"\(word)\"",
          argument: 0)
      }
      scope.main.workerProcesses = Int(word)
    },
    Row("worker_shutdown_timeout", .main, 1...1, "How long a graceful stop waits for connections.")
    { scope, directive throws(Refusal) in
      scope.main.shutdownTimeoutMs = try directive.time(0)
    },
    .text(
      "pid", .main, \.main.pidPath, "logs/portico.pid",
      "The file that holds the supervisor's process id."),
    Row(
      "error_log", [.main, .http, .server, .location], 1...2,
      "A file, `stderr` or `syslog:server=ADDRESS,…`, for messages of at least the given level.",
      standard: "logs/error.log error"
    ) { scope, directive throws(Refusal) in
      let entry = try errorLog(scope, directive)
      if scope.context == .main {
        if scope.isFirst(directive) { scope.main.errorLogs = [] }
        scope.main.errorLogs.append(entry)
      } else {
        if scope.isFirst(directive) { scope.location.log.errorLogs = [] }
        scope.location.log.errorLogs?.append(entry)
      }
    }.repeatable(),
    .noEffect(
      "ssl_object_cache_inheritable", .main, .flag,
      "Accepted for nginx's sake: a reload reads every certificate anew, once."),
    .noEffect(
      "env_file", .main, .anything(1...1),
      "A file of NAME=VALUE lines behind `${env:NAME}`; read before the rest."),
    Row("events", .main, 0...0, "Settings of connection processing.") {
      scope, directive throws(Refusal) in
      let events = Scope(.events, scope.builder, parent: scope)
      scope.builder.process(directive.block ?? [], events)
    }.block(once: true),
    Row("http", .main, 0...0, "Everything about HTTP.") { scope, directive throws(Refusal) in
      let inner = Scope(.http, scope.builder, parent: scope)
      scope.builder.setStandardAccessLog(inner)
      scope.builder.process(directive.block ?? [], inner)
      let core = inner.location.core.value
      scope.builder.inheritResolver(core.resolver, timeout: core.resolverTimeout)
      scope.builder.temporaryPaths.insert(inner.location.core.bodyTemporaryPath)
      scope.builder.temporaryPaths.insert(inner.location.proxy.temporaryPath)
    }.block(once: true).at(.block),
    .number(
      "worker_connections", .events, 1...(1 << 24), \.main.workerConnections, "512",
      "Connections of one worker thread, to clients and to upstreams together."),
    .flag(
      "multi_accept", .events, \.main.acceptsMany, "off",
      "Whether a worker takes many new connections at a time."),
    Row(
      "use", .events, 1...1, "The method of waiting for events; here always epoll.",
      standard: "epoll"
    ) { scope, directive throws(Refusal) in
      guard directive.text(0) == "epoll" else {
        throw Refusal("\"use\" must be \"epoll\", not \"\(directive.text(0))\"", argument: 0)
      }
    },
    .noEffect(
      "accept_mutex", .events, .flag, "Accepted for nginx's sake: EPOLLEXCLUSIVE does its work."),
    .noEffect(
      "accept_mutex_delay", .events, .time,
      "Accepted for nginx's sake: EPOLLEXCLUSIVE does its work."),
  ]

  private static func errorLog(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> ErrorLogSettings
  {
    let path = directive.text(0)
    if path.hasPrefix("memory:") {
      throw Refusal(
        "\"error_log\" to \"\(path)\" is not supported; name a file, \"stderr\" or "
          + "\"syslog:server=ADDRESS\"", argument: 0)
    }
    var entry = ErrorLogSettings(path: path, level: .error)
    entry.syslog = try SyslogTarget.parse(scope, directive)
    guard directive.arguments.count > 1 else { return entry }
    guard let level = LogLevel(name: directive.text(1)) else {
      let names = LogLevel.allCases.map { "\"\($0.name)\"" }.joined(separator: ", ")
      throw Refusal(
        "a log level must be one of \(names), not \"\(directive.text(1))\"", argument: 1)
    }
    entry.level = level
    return entry
  }
}

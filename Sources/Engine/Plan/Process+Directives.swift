// What a worker process is started with: limits, priority, folder, environment
// (https://nginx.org/en/docs/ngx_core_module.html). It is applied once, before the process becomes
// its user; a reload that changes it holds for worker processes that are started afterwards.

import Configuration

/// Settings of worker processes that hold for their whole life.
struct ProcessSettings: Sendable, Equatable {
  var descriptorLimit: Int?
  /// The largest core file; nil: as the supervisor's limit is.
  var coreBytes: Int?
  /// As nice(1) counts: the lowest is the most urgent.
  var priority = 0
  var workingFolder: String?
  /// `NAME=VALUE`, in addition to what the supervisor has.
  var environment: [String] = []

  /// `inherited` with the variables that are set here.
  func environment(over inherited: [String]) -> [String] {
    func name(_ entry: String) -> Substring { entry.prefix { $0 != "=" } }
    let own = Set(environment.map(name))
    return inherited.filter { !own.contains(name($0)) } + environment
  }
}

extension Row {
  static let processRows: [Row] = [
    Row("worker_rlimit_nofile", .main, 1...1, "The limit of open descriptors of worker processes.")
    {
      scope, directive throws(Refusal) in
      scope.main.process.descriptorLimit = try directive.number(0, 16...(1 << 30))
    },
    Row(
      "worker_rlimit_core", .main, 1...1,
      """
      The largest core file of a worker process, which writes none if its user differs from the \
      supervisor's and this isn't set.
      """
    ) { scope, directive throws(Refusal) in
      scope.main.process.coreBytes = try directive.size(0)
    },
    .number(
      "worker_priority", .main, -20...20, \.main.process.priority, "0",
      "The scheduling priority of worker processes as nice(1) counts: negative is more urgent."),
    Row(
      "working_directory", .main, 1...1,
      "The folder that worker processes work in, where core files go."
    ) {
      scope, directive throws(Refusal) in
      scope.main.process.workingFolder = directive.text(0)
    },
    Row(
      "env", .main, 1...1,
      """
      A variable for the environment of worker processes. Without a value it changes nothing: \
      unlike nginx's, worker processes have all of the supervisor's.
      """
    ) { scope, directive throws(Refusal) in
      let text = directive.text(0)
      guard text.first != "=", !text.isEmpty else {
        throw Refusal("\"env\" needs a name before \"=\"", argument: 0)
      }
      guard text.contains("=") else { return }
      let name = text.prefix { $0 != "=" } + "="
      scope.main.process.environment.removeAll { $0.hasPrefix(name) }
      scope.main.process.environment.append(text)
    }.repeatable(),
    .noEffect(
      "debug_points", .main, .words(["abort", "stop"]),
      """
      Accepted for nginx's sake: what must never happen stops a worker process, which is replaced \
      at once.
      """
    ),
  ]
}

// From bytes to plans: the one place where supervisor, worker process and command line have the
// configuration read. The supervisor reads the disk and throws the plan away after it took the
// settings that concern it; the worker process builds one plan for each worker thread.

import CLinux

/// What came of reading a configuration.
struct ConfigurationReading {
  /// The plan, or nil if the configuration has errors.
  let plan: Plan?
  /// Errors and warnings, one entry each, for people: the first line is for logs, more lines show the
  /// place.
  let problems: [String]

  /// All problems for a terminal.
  var report: String { problems.map { $0 + "\n" }.joined() }
}

extension RecordedFiles {
  /// Reads the configuration from the disk.
  func readConfiguration() -> ConfigurationReading {
    let result = StubConfiguration(options: bundle.options) { content($0) }
    noteConfigurationFiles([bundle.options.configurationPath])
    return ConfigurationReading(
      plan: result.problems.isEmpty ? result.plan : nil, problems: result.problems)
  }
}

extension ReplayedFiles {
  /// Builds one plan for each worker thread.
  func makePlans() throws(ApplyFailure) -> [Plan] {
    var plans: [Plan] = []
    repeat {
      let result = StubConfiguration(options: bundle.options) { content($0) }
      if !result.problems.isEmpty { throw ApplyFailure(result.problems) }
      plans.append(result.plan)
    } while plans.count < plans[0].main.workerCount
    return plans
  }
}

extension MainSettings {
  /// How many worker threads there are.
  var workerCount: Int { max(1, workerProcesses ?? Int(linux_processor_count())) }
}

extension RecordedFiles {
  /// What `pid` says, even if something else in the configuration is wrong.
  func readPidPath() -> String? {
    StubConfiguration(options: bundle.options) { content($0) }.plan.main.pidPath
  }
}

// The commands that don't start the front door: `-t`, `-T`, `-s` and their messages.

import CLinux

extension FrontDoor {
  /// `-t` and `-T`: reads the configuration as a start would, and finds out whether its
  /// addresses can be had, of which it keeps none.
  public static func test(_ options: StartOptions, dumps: Bool) -> Int32 {
    var log = SupervisorLog()
    log.openFirst(options)
    let path = options.configurationPath
    let files = RecordedFiles(options: options)
    let reading = files.readConfiguration(checks: .all)
    guard let plan = reading.plan else {
      log.tell(.emerg, reading.problems, report: reading.report)
      SupervisorLog.say("portico: configuration file \(path) test failed\n")
      return 1
    }
    // Warnings are no part of what `-q` silences.
    SupervisorLog.say(reading.report)
    do throws(SupervisorGeneration.Failure) {
      _ = try SupervisorGeneration.findIdentity(plan.main)
      for fd in try SupervisorGeneration.openLogs(plan, options).values { _ = linux_close(fd) }
      let problems = plan.listens.compactMap { ListenerSockets.problem(binding: $0.settings) }
      if !problems.isEmpty { throw SupervisorGeneration.Failure(problems) }
    } catch {
      log.tell(.emerg, error.problems, report: error.report)
      SupervisorLog.say("portico: configuration file \(path) test failed\n")
      return 1
    }
    if !options.isQuiet {
      SupervisorLog.say("portico: the configuration file \(path) syntax is ok\n")
      SupervisorLog.say("portico: configuration file \(path) test is successful\n")
    }
    if dumps { dump(files.bundle) }
    return 0
  }

  private static func dump(_ bundle: Bundle) {
    for path in bundle.configurationFiles {
      guard case .content(let bytes)? = bundle.files[path] else { continue }
      let text = Array("# configuration file \(path):\n".utf8) + bytes + [UInt8(ascii: "\n")]
      try? ProcessFiles.writeAll(1, text)
    }
  }

  /// `-s stop|quit|reload|reopen`: tells the running portico, found by its pid file.
  public static func signal(_ command: String, _ options: StartOptions) -> Int32 {
    guard let signal = Signal(command: command) else {
      return fail("invalid option: \"-s \(command)\"; stop, quit, reload or reopen is meant")
    }
    let path = pidPath(options)
    let pid: Int32
    do {
      pid = try PidFile.read(path)
    } catch {
      switch error {
      case .unreadable(let error):
        return fail("\"\(path)\" can't be read \(error.logText): is portico running?")
      case .invalid(let text): return fail("invalid PID number \"\(text)\" in \"\(path)\"")
      }
    }
    if signal == .reload, let outcome = ReloadSocket.ask(path: path + ReloadSocket.suffix) {
      return report(outcome)
    }
    let result = linux_kill(pid, signal.number)
    if result == -Int64(ESRCH) {
      return fail("\"\(path)\" names process \(pid), which doesn't run")
    }
    if result < 0 {
      let error = SystemError(code: Int32(truncatingIfNeeded: -result))
      return fail("kill(\(pid), \(signal.number)) failed \(error.logText)")
    }
    return 0
  }

  private static func report(_ outcome: ReloadSocket.Outcome) -> Int32 {
    switch outcome {
    case .accepted(let text):
      SupervisorLog.say(text)
      return 0
    case .refused(let text):
      SupervisorLog.say(text + "portico: the configuration was refused, the old one goes on\n")
      return 1
    case .lost:
      return fail("the running portico gave no answer; its error log says what happened")
    }
  }

  private static func fail(_ message: String) -> Int32 {
    SupervisorLog.say("portico: [error] \(message)\n")
    return 1
  }

  /// Where the running portico has its pid file. A configuration with errors still says that.
  private static func pidPath(_ options: StartOptions) -> String {
    let path = RecordedFiles(options: options).readPidPath() ?? StartOptions.defaultPidPath
    return ProcessFiles.absolute(path, in: options.prefix)
  }
}

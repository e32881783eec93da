// From a command line to a running supervisor: the configuration is read and everything that it
// asks for is had before anything is started, so that an error leaves nothing half done. Errors go
// to the terminal and to the error log; the exit code says whether portico serves.

import CLinux

/// The entry points of the `portico` command.
public enum FrontDoor {
  /// Starts the front door; returns when it has ended (or, as a daemon, when it serves). `greeting`
  /// is told at the terminal when it serves.
  public static func start(_ options: StartOptions, greeting: String? = nil) -> Int32 {
    linux_fill_standard_descriptors()
    // Orders that come while the configuration is read are carried out when it serves. Those that
    // end a start at once do so.
    ProcessSignals.block(
      Signal.allCases.filter { $0 != .terminate && $0 != .interrupt }.map(\.number))
    _ = linux_raise_descriptor_limit()
    linux_ignore_signal(SIGPIPE)
    // A limit on the size of files is a disk that takes no more: writes say EFBIG.
    linux_ignore_signal(SIGXFSZ)
    // Read before anything can replace the file.
    let executable = ProcessFiles.linkTarget("/proc/self/exe") ?? "/proc/self/exe"
    let inherited = Upgrade.takeInherited()
    let parent = inherited.isEmpty ? nil : Int32(linux_parent_pid())
    var log = SupervisorLog()
    log.openFirst(options)
    let adopted = Listeners(adopting: inherited)
    do {
      let generation = try SupervisorGeneration.make(1, options, keeping: adopted, log: log)
      log.tell(.warn, generation.warnings, report: generation.report)
      var daemonStart: DaemonStart?
      if generation.main.isDaemon && inherited.isEmpty {
        daemonStart = try DaemonStart.fork()
      }
      generation.direct(&log, options)
      let supervisor = try Supervisor(options, generation, log)
      supervisor.executable = executable
      supervisor.greeting = greeting
      supervisor.upgrade.parent = parent
      supervisor.adopted = adopted
      supervisor.daemonStart = daemonStart
      let code = supervisor.run()
      supervisor.daemonStart?.report(code)
      return code
    } catch let failure as SupervisorGeneration.Failure {
      log.tell(.emerg, failure.problems, report: failure.report)
    } catch let ended as DaemonStart.Ended {
      return ended.code
    } catch {
      let text = (error as? SystemError)?.logText ?? ""
      log.write(.emerg, "starting failed \(text)")
    }
    return 1
  }

  /// `portico --worker-process`: what the supervisor executes.
  public static func runWorkerProcess() -> Never { WorkerProcess.main() }

  /// The private argument that asks for `runWorkerProcess`.
  public static var workerProcessArgument: String { WorkerProcess.argument }
}

extension Supervisor {
  /// The first worker process serves: the start is over.
  func onStarted() {
    do {
      try pidFile.write()
    } catch {
      log.write(.emerg, "writing \"\(pidFile.path)\" failed \(error.logText)")
      failedStart = true
      state = .stopping
      worker?.endBy = Clock.monotonic + WorkerLink.endLimitMs
      try? worker?.channel.send(.stop)
      return
    }
    state = .serving
    adopted.closeLeavingPaths(except: current.listeners)
    openReloadSocket()
    log.write(.notice, "portico serves, generation \(current.number)")
    log.isStarting = false
    if let greeting { FrontDoor.say(greeting) }
    daemonStart?.report(0)
    goOn()
  }
}

extension SupervisorLog {
  /// Opens the log of `-e`, which takes what happens before the configuration names another. That
  /// it can't be opened is told, and no reason to stop.
  mutating func openFirst(_ options: StartOptions) {
    if options.errorLogPath.hasPrefix(options.prefix),
      let folder = ProcessFiles.parent(of: options.errorLogPath)
    {
      try? ProcessFiles.makeFolders(folder, mode: 0o755)
    }
    do {
      let fd = try SupervisorGeneration.openLog(options.errorLogPath, options)
      setTargets(
        ErrorLog([ErrorLog.Target(fd: fd, level: .notice)]),
        isOnTerminal: options.errorLogPath == "stderr")
    } catch {
      write(.alert, "could not open error log file: \"\(options.errorLogPath)\" \(error.logText)")
    }
  }
}

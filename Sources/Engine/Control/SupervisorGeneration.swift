// One configuration as the supervisor holds it: validated, its sockets bound, its logs open, its
// bytes in a bundle. Making one changes nothing of the one that serves; whichever of the two loses
// is closed.

import CLinux

/// A configuration that a worker process can be given.
struct SupervisorGeneration {
  let number: Int
  let main: MainSettings
  let identity: Identity?
  /// The bundle, in a file without a name.
  var bundle: Int32
  var listeners: Listeners
  var logs: [String: Int32]
  let pidFile: PidFile
  var certificates: CertificateWatch
  /// The names of its `upstream` blocks.
  let upstreams: Set<String>
  /// What the configuration warned of, for logs.
  let warnings: [String]
  /// The same for people.
  let report: String
  private let validated: Validated

  /// What was read and validated, which all copies of a generation share.
  private final class Validated {
    var reading: ConfigurationReading?
    init(_ reading: ConfigurationReading) { self.reading = reading }
  }

  /// Why there is none.
  struct Failure: Error {
    /// For the log: one line each.
    let problems: [String]
    /// For people: with source lines and carets.
    let report: String

    init(_ problems: [String], report: String? = nil) {
      self.problems = problems
      self.report = report ?? problems.map { "portico: [emerg] \($0)\n" }.joined()
    }
  }

  /// Reads the configuration and gets everything that it asks for, or leaves everything as it was.
  ///
  /// - Parameter serving: the generation that serves, at a reload.
  static func make(
    _ number: Int, _ options: StartOptions, keeping old: Listeners,
    serving: SupervisorGeneration? = nil, log: SupervisorLog
  ) throws(Failure) -> SupervisorGeneration {
    do throws(Failure) {
      return try read(number, options, keeping: old, serving: serving, log: log)
    } catch {
      linux_trim_heap()
      throw error
    }
  }

  private static func read(
    _ number: Int, _ options: StartOptions, keeping old: Listeners,
    serving: SupervisorGeneration?, log: SupervisorLog
  ) throws(Failure) -> SupervisorGeneration {
    let files = RecordedFiles(options: options, serving: serving?.bundle)
    let reading = files.readConfiguration(
      isReload: number > 1, servedUpstreams: serving?.upstreams ?? [])
    guard let plan = reading.plan else {
      throw Failure(reading.problems, report: reading.report)
    }
    let identity = try findIdentity(plan.main)
    let logs = try openLogs(plan, options, serving?.logs ?? [:])
    let pidPath = ProcessFiles.absolute(plan.main.pidPath, in: options.prefix)
    do throws(Failure) {
      try makeTemporaryFolders(plan.temporaryPaths, options, identity)
      let listeners = try bind(plan, old, log, pidPath, options)
      return SupervisorGeneration(
        number: number, main: plan.main, identity: identity,
        bundle: try makeBundle(files.bundle, orClose: listeners, except: old),
        listeners: listeners, logs: logs, pidFile: PidFile(path: pidPath),
        certificates: CertificateWatch(plan), upstreams: plan.namedUpstreams,
        warnings: reading.warnings, report: reading.report, validated: Validated(reading))
    } catch {
      for fd in logs.values { _ = linux_close(fd) }
      throw error
    }
  }

  /// Frees the plan, which was only looked at: 60 MB with 10,000 certificates, which malloc would
  /// keep for the next reload. 10,000 servers take 50 ms to free, for which no worker process
  /// should have to wait.
  func dropPlan() {
    guard validated.reading != nil else { return }
    validated.reading = nil
    linux_trim_heap()
  }

  /// Gives up everything that `other` doesn't hold too.
  func close(except other: SupervisorGeneration?) {
    dropPlan()
    listeners.close(except: other?.listeners)
    _ = linux_close(bundle)
    for fd in logs.values { _ = linux_close(fd) }
  }

  /// Lets the supervisor's own lines go where `error_log` says.
  func direct(_ log: inout SupervisorLog, _ options: StartOptions) {
    let settings = main.errorLogs(orIn: options.errorLogPath)
    log.setTargets(
      ErrorLog(settings, logs),
      isOnTerminal: settings.contains { $0.path == "stderr" || $0.path == "/dev/stderr" })
  }

  /// Opens every log again; what can't be opened keeps its descriptor. Returns why: the log to say
  /// it in may be one of these.
  mutating func reopenLogs(_ options: StartOptions) -> [String] {
    var problems: [String] = []
    for path in logs.keys {
      do {
        let fd = try Self.openLog(path, options)
        if let old = logs.updateValue(fd, forKey: path) { _ = linux_close(old) }
      } catch {
        problems.append(Self.cannotOpen(path, error))
      }
    }
    return problems
  }

  private static func cannotOpen(_ path: String, _ error: SystemError) -> String {
    "open() \"\(path)\" failed \(error.logText)"
      + (error.code == ENXIO ? ": nobody reads that pipe" : "")
  }

  /// The user and group that `user` names, if that can and must be decided.
  static func findIdentity(_ main: MainSettings) throws(Failure) -> Identity? {
    do {
      return try Identity.find(user: main.user, group: main.group)
    } catch {
      throw Failure([error.problem])
    }
  }

  private static func makeBundle(
    _ bundle: Bundle, orClose listeners: Listeners, except old: Listeners
  ) throws(Failure) -> Int32 {
    do {
      return try bundle.makeDescriptor()
    } catch {
      listeners.close(except: old)
      throw Failure(["the bundle can't be written \(error.logText)"])
    }
  }

  private static func bind(
    _ plan: Plan, _ old: Listeners, _ log: SupervisorLog, _ pidPath: String,
    _ options: StartOptions
  ) throws(Failure) -> Listeners {
    // A running instance on the same addresses won't give them up. One that was just told to end
    // gets the time of one pause for it.
    var isRunning = false
    do {
      return try old.next(
        for: plan.listens.map(\.settings), workerCount: plan.main.workerCount
      ) { problems in
        let remark = old.table.isEmpty ? PidFile.remark(pidPath) : nil
        if remark != nil && isRunning { return false }
        isRunning = remark != nil
        for problem in problems { log.write(.emerg, problem + ", trying again") }
        return true
      }
    } catch {
      let running = old.table.isEmpty ? [PidFile.remark(pidPath)].compactMap { $0 } : []
      let advice = options.isInstant ? ["--http and --https name other ports, 0 none"] : []
      throw Failure(error.problems + running + advice)
    }
  }

  /// Opens all logs that a plan writes to; `open` are those of the plan that serves. Keys are paths
  /// as plans have them.
  static func openLogs(
    _ plan: Plan, _ options: StartOptions, _ open: [String: Int32] = [:]
  ) throws(Failure) -> [String: Int32] {
    var logs: [String: Int32] = [:]
    var problems: [String] = []
    let files = plan.main.errorLogs(orIn: options.errorLogPath).filter { $0.syslog == nil }
    for path in files.map(\.path) + plan.logPaths where logs[path] == nil {
      do {
        logs[path] = try openLog(path, options)
      } catch {
        // Whoever reads the pipe is being restarted, and finds us where we were.
        if error.code == ENXIO, let known = open[path],
          case let copy = linux_duplicate(known), copy >= 0
        {
          logs[path] = Int32(copy)
          continue
        }
        problems.append(cannotOpen(path, error))
      }
    }
    if problems.isEmpty { return logs }
    for fd in logs.values { _ = linux_close(fd) }
    throw Failure(problems)
  }

  /// Opens a log to append to.
  static func openLog(_ path: String, _ options: StartOptions) throws(SystemError) -> Int32 {
    switch path {
    case "stderr", "/dev/stderr": return try LogFile.openStandard(2)
    case "/dev/stdout": return try LogFile.openStandard(1)
    default: break
    }
    let full = ProcessFiles.absolute(path, in: options.prefix)
    do {
      return try LogFile.open(full)
    } catch {
      // Folders below the prefix are portico's own: a fresh one has no logs/ yet.
      guard error.code == ENOENT, full.hasPrefix(options.prefix),
        let folder = ProcessFiles.parent(of: full)
      else { throw error }
      try ProcessFiles.makeFolders(folder, mode: 0o755)
      return try LogFile.open(full)
    }
  }

  /// Makes the folders for temporary files, owned by the user that the worker process becomes.
  private static func makeTemporaryFolders(
    _ paths: [String], _ options: StartOptions, _ identity: Identity?
  ) throws(Failure) {
    for path in paths {
      let full = ProcessFiles.absolute(path, in: options.prefix)
      do {
        try ProcessFiles.makeFolders(full, mode: 0o700)
      } catch {
        throw Failure(["mkdir() \"\(full)\" failed \(error.logText)"])
      }
      if let identity, Identity.canChange {
        _ = unsafe linux_change_owner(full, identity.user, identity.group)
      }
    }
  }
}

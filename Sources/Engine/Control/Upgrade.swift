// USR2: replacing the binary without a refused connection. The supervisor starts the binary that is
// on the disk with its listening sockets; both serve until the operator sends QUIT to the old one
// (or to the new one, if it is no good).
//
//   portico.pid ──rename──► portico.pid.oldbin        PORTICO_SOCKETS=5;6 portico …
//   old: serves on, QUIT drains                       new: adopts 5 and 6, writes portico.pid

import CLinux

/// Sockets that go from one binary to the next.
enum Upgrade {
  /// The environment variable that names inherited descriptors.
  static let variable = "PORTICO_SOCKETS"

  /// Which other binary serves the same sockets.
  struct State {
    /// The new binary that this process started.
    var child: Int32?
    /// The old binary that started this process.
    var parent: Int32?

    /// Whether another supervisor serves the same sockets: Unix sockets then stay in the file
    /// system.
    var othersServe: Bool {
      child != nil || (parent != nil && parent == Int32(linux_parent_pid()))
    }
  }

  /// The descriptors that an older binary left to this process; none if it was started normally.
  static func takeInherited() -> [Int32] {
    guard let text = ProcessFiles.environment(variable) else { return [] }
    _ = unsafe linux_set_environment(variable, nil)
    return text.split(separator: ";").compactMap { Int32($0) }
  }

  /// The file to execute: what the command line said if that was a path (it may be a link that
  /// points to the new version), otherwise the file that this process was started from.
  static func binaryPath(startedFrom executable: String) -> String {
    let name = CommandLine.arguments.first ?? ""
    return name.contains("/") ? name : executable
  }
}

extension Supervisor {
  /// Starts the binary on the disk with the sockets of this process.
  func startUpgrade() {
    guard case .serving = state, upgrade.child == nil else {
      return log.write(.notice, "an upgrade is under way, or portico isn't serving yet")
    }
    if upgrade.othersServe {
      return log.write(.notice, "the process that started this one still runs, no upgrade")
    }
    guard current.main.hasMasterProcess else {
      return log.write(.error, "an upgrade needs \"master_process on\"")
    }
    let original = pidFile
    let renamed =
      original.isFile ? unsafe linux_rename(original.path, original.oldBinaryPath) : 0
    if renamed < 0 {
      let error = SystemError(code: Int32(truncatingIfNeeded: -renamed))
      return log.write(.alert, "rename() \"\(original.path)\" failed \(error.logText)")
    }
    if original.isFile { pidFile = PidFile(path: original.oldBinaryPath) }
    reloadSocket?.close()
    reloadSocket = nil
    let descriptors = current.listeners.table.values.map(\.fd)
    for fd in descriptors { _ = linux_set_close_on_exec(fd, 0) }
    defer { for fd in descriptors { _ = linux_set_close_on_exec(fd, 1) } }
    let names = descriptors.map(String.init).joined(separator: ";")
    let path = Upgrade.binaryPath(startedFrom: executable)
    do {
      upgrade.child = try Process.spawn(
        path, arguments: CommandLine.arguments,
        environment: Process.environment + ["\(Upgrade.variable)=\(names)"], channel: nil)
      log.write(.notice, "start new binary process \(upgrade.child ?? 0) from \"\(path)\"")
    } catch {
      log.write(
        .alert,
        "execve() \"\(path)\" failed \(error.logText), no new binary: the old one goes on")
      takePidFileBack()
    }
  }

  /// The new binary has ended: this one is the only one again.
  func onUpgradeEnded(_ end: Process.End) {
    log.write(.alert, "new binary process \(upgrade.child ?? 0) \(end.text), the old one goes on")
    upgrade.child = nil
    takePidFileBack()
    if case .serving = state { serveAgain() }
  }

  private func takePidFileBack() {
    let original = current.pidFile
    if pidFile.path != original.path { _ = unsafe linux_rename(pidFile.path, original.path) }
    pidFile = original
    openReloadSocket()
  }
}

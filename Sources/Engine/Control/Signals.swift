// What the supervisor is told: signals as nginx has them, and their names in the log.

import CLinux

/// What a signal asks the supervisor for.
enum Signal: CaseIterable {
  case reload, quit, terminate, interrupt, reopen, upgrade, stopWorker, child

  var number: Int32 {
    switch self {
    case .reload: SIGHUP
    case .quit: SIGQUIT
    case .terminate: SIGTERM
    case .interrupt: SIGINT
    case .reopen: SIGUSR1
    case .upgrade: SIGUSR2
    case .stopWorker: SIGWINCH
    case .child: SIGCHLD
    }
  }

  /// The kernel's name.
  var name: String {
    switch self {
    case .reload: "SIGHUP"
    case .quit: "SIGQUIT"
    case .terminate: "SIGTERM"
    case .interrupt: "SIGINT"
    case .reopen: "SIGUSR1"
    case .upgrade: "SIGUSR2"
    case .stopWorker: "SIGWINCH"
    case .child: "SIGCHLD"
    }
  }

  /// What happens, for the log.
  var meaning: String {
    switch self {
    case .reload: "reconfiguring"
    case .quit: "shutting down gracefully"
    case .terminate, .interrupt: "exiting"
    case .reopen: "reopening logs"
    case .upgrade: "changing binary"
    case .stopWorker: "shutting down the worker process gracefully"
    case .child: "a child process ended"
    }
  }

  init?(number: Int32) {
    guard let signal = Self.allCases.first(where: { $0.number == number }) else { return nil }
    self = signal
  }

  /// The signal behind `portico -s NAME`, or nil.
  init?(command: String) {
    switch command {
    case "stop": self = .terminate
    case "quit": self = .quit
    case "reload": self = .reload
    case "reopen": self = .reopen
    default: return nil
    }
  }
}

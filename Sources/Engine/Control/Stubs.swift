// Stand-ins for the plan, the worker and the language until the real ones land: enough of nginx's
// syntax to start, listen and answer a fixed text, so that the process side can be proved. Deleted
// with the first plan.

import CLinux

enum LogLevel: Int, Sendable {
  case debug, info, notice, warn, error, crit, alert, emerg
  init?(_ name: String) {
    let names = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"]
    guard let index = names.firstIndex(of: name) else { return nil }
    self.init(rawValue: index)
  }
}

struct ErrorLogSettings: Sendable, Equatable {
  var path: String
  var level: LogLevel
}

struct MainSettings: Sendable {
  var user: String?
  var group: String?
  var isDaemon = false
  var hasMasterProcess = true
  var workerProcesses: Int? = 1
  var descriptorLimit: Int?
  var shutdownTimeoutMs: Int?
  var pidPath = ""
  var errorLogs: [ErrorLogSettings] = []
}

struct ListenSettings: Sendable {
  var address: SocketAddress
  var backlog = 511
  var reusePort = false
  var ipv6Only = true
  var deferredAccept = false
  var receiveBufferBytes: Int?
  var sendBufferBytes: Int?
  var keepAlive: Bool?
  var fastOpen: Int?
}

struct ListenerSocket: Sendable {
  let settings: ListenSettings
  let fd: Int32
}

final class Plan {
  var main = MainSettings()
  var listens: [ListenPlan] = []
  var logPaths: [String] = []
  var temporaryPaths: [String] = []
  var answer = ""
}

final class ListenPlan {
  let settings: ListenSettings
  init(settings: ListenSettings) { self.settings = settings }
}

final class WorkerShared: Sendable {
  let reports: Mailbox<WorkerReport>
  init() throws(SystemError) { reports = try Mailbox() }
}

enum WorkerReport: Sendable {
  case planTaken(worker: Int)
  case planRetired(Handover<Plan>)
  case ended(worker: Int)
}

enum WorkerMessage: Sendable {
  case plan(Handover<Plan>, listeners: [ListenerSocket])
  case drain(deadlineMs: Int?)
  case stop
}

/// The least worker: accepts, waits for a request, answers the plan's text, closes.
final class Worker {
  let mailbox: Mailbox<WorkerMessage>
  private let index: Int
  private var plan: Plan
  private var listeners: [ListenerSocket]
  private let shared: WorkerShared
  private let poller: Poller
  private var isDone = false

  init(
    index: Int, plan: Plan, listeners: [ListenerSocket], shared: WorkerShared
  ) throws(SystemError) {
    self.index = index
    self.plan = plan
    self.listeners = listeners
    self.shared = shared
    mailbox = try Mailbox()
    poller = try Poller()
    try poller.addReader(
      mailbox.wakeDescriptor, Handle(.mailbox, slot: 0), exclusive: false)
    for listener in listeners {
      try poller.addReader(
        listener.fd, Handle(.listener, slot: Int(listener.fd)), exclusive: true)
    }
  }

  func run() {
    while !isDone {
      poller.wait(-1, { handle, _ in
        if handle.kind == .mailbox { takeMessages() } else { accept(Int32(handle.slot)) }
      }, woken: {})
    }
    for listener in listeners { _ = linux_close(listener.fd) }
  }

  private func takeMessages() {
    for message in mailbox.takeAll() {
      switch message {
      case .plan(let next, let sockets):
        for old in listeners where !sockets.contains(where: { $0.fd == old.fd }) {
          poller.remove(old.fd)
          _ = linux_close(old.fd)
        }
        for new in sockets where !listeners.contains(where: { $0.fd == new.fd }) {
          try? poller.addReader(
            new.fd, Handle(.listener, slot: Int(new.fd)), exclusive: true)
        }
        listeners = sockets
        shared.reports.post(.planRetired(Handover(plan)))
        plan = next.value
        shared.reports.post(.planTaken(worker: index))
      case .drain, .stop: isDone = true
      }
    }
  }

  private func accept(_ listener: Int32) {
    let fd = Int32(linux_accept(listener, nil, nil))
    if fd < 0 { return }
    defer { _ = linux_close(fd) }
    linux_receive_timeout(fd, 2000)
    _ = linux_set_blocking(fd)
    var request = [UInt8](repeating: 0, count: 8192)
    guard unsafe linux_recv(fd, &request, request.count) > 0 else { return }
    let body = plan.answer
    let head = "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n"
    let answer = Array((head + body).utf8)
    _ = unsafe linux_send(fd, answer, answer.count, 0)
  }
}

/// Words, strings, braces and semicolons; enough directives for the tests of the process side.
struct StubConfiguration {
  var plan = Plan()
  var problems: [String] = []
  private let options: StartOptions

  init(options: StartOptions, read: (String) -> Bundle.File) {
    self.options = options
    plan.main.pidPath = options.prefix + StartOptions.defaultPidPath
    parse(options.globalDirectives, "command line")
    switch read(options.configurationPath) {
    case .failed(let code):
      problems.append(
        "open() \"\(options.configurationPath)\" failed \(SystemError(code: code).logText)")
    case .content(let bytes):
      parse(String(decoding: bytes, as: UTF8.self), options.configurationPath)
    }
    for log in plan.main.errorLogs where !plan.logPaths.contains(log.path) {
      plan.logPaths.append(log.path)
    }
  }

  private mutating func parse(_ text: String, _ file: String) {
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      var words: [String] = []
      var word = ""
      var inQuotes = false
      for character in line {
        if character == "#" && !inQuotes { break }
        if character == "\"" || character == "'" { inQuotes.toggle() }
        else if !inQuotes && " ;{}\t".contains(character) {
          if !word.isEmpty { words.append(word) }
          word = ""
          if character == ";" || character == "{" {
            directive(words, "\(file):\(index + 1)")
            words = []
          }
        } else { word.append(character) }
      }
      if !word.isEmpty || !words.isEmpty { problems.append("\(file):\(index + 1):1: unexpected end of line") }
    }
  }

  private mutating func directive(_ words: [String], _ place: String) {
    guard let name = words.first else { return }
    let value = words.count > 1 ? words[1] : ""
    switch name {
    case "events", "http", "server", "location", "server_name": break
    case "daemon": plan.main.isDaemon = value == "on"
    case "master_process": plan.main.hasMasterProcess = value == "on"
    case "worker_processes": plan.main.workerProcesses = Int(value)
    case "worker_rlimit_nofile": plan.main.descriptorLimit = Int(value)
    case "worker_shutdown_timeout": plan.main.shutdownTimeoutMs = (Int(value) ?? 0) * 1000
    case "user":
      plan.main.user = value
      plan.main.group = words.count > 2 ? words[2] : nil
    case "pid": plan.main.pidPath = ProcessFiles.absolute(value, in: options.prefix)
    case "error_log":
      let path = value == "stderr" ? value : ProcessFiles.absolute(value, in: options.prefix)
      let level = words.count > 2 ? LogLevel(words[2]) ?? .error : .error
      plan.main.errorLogs.append(ErrorLogSettings(path: path, level: level))
    case "access_log": plan.logPaths.append(ProcessFiles.absolute(value, in: options.prefix))
    case "client_body_temp_path":
      plan.temporaryPaths.append(ProcessFiles.absolute(value, in: options.prefix))
    case "return": plan.answer = words.last ?? ""
    case "listen": listen(words, place)
    default: problems.append("\(place):1: \"\(name)\" is not a directive here")
    }
  }

  private mutating func listen(_ words: [String], _ place: String) {
    let value = words[1]
    let address: SocketAddress?
    if value.hasPrefix("unix:") {
      address = SocketAddress(unixPath: String(value.dropFirst(5)))
    } else {
      let parts = value.split(separator: ":")
      let port = UInt16(parts.last ?? "") ?? 80
      address = SocketAddress(literal: parts.count > 1 ? String(parts[0]) : "0.0.0.0", port: port)
    }
    guard let address else {
      problems.append("\(place):1: invalid address \"\(value)\"")
      return
    }
    var settings = ListenSettings(address: address)
    settings.reusePort = words.contains("reuseport")
    plan.listens.append(ListenPlan(settings: settings))
  }
}

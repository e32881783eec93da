// A child process of a test, with deadlines. Its output goes to files, so that a process that says
// much never waits for the test. It gets no other descriptor: what another test has open, or is
// just opening, would stay open for as long as the child runs.

import CSpawn
import Foundation

/// How a command ended.
struct Finished {
  /// The exit code, or 128 and the signal's number.
  let code: Int32
  let standardOutput: String
  let standardError: String
}

/// A running command.
final class Command: @unchecked Sendable {
  let pid: Int32
  private let outputPath: String
  private let errorPath: String
  private var ended: Int32?

  /// Starts `words[0]` (a path, or found in $PATH).
  init(_ words: [String], folder: String, environment: [String: String] = [:]) throws {
    let name = UUID().uuidString
    outputPath = "\(folder)\(name).out"
    errorPath = "\(folder)\(name).err"
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    let flags = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_addopen(&actions, 1, outputPath, flags, 0o666)
    posix_spawn_file_actions_addopen(&actions, 2, errorPath, flags, 0o666)
    posix_spawn_file_actions_addclosefrom_np(&actions, 3)
    let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    // Threads of the test runner block signals, and a child would begin so.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var child: pid_t = 0
    let result = withCStrings(words) { words in
      withCStrings(variables.map { "\($0.key)=\($0.value)" }) { variables in
        posix_spawnp(&child, words[0]!, &actions, &attributes, words, variables)
      }
    }
    guard result == 0 else { throw POSIXError(.init(rawValue: result) ?? .EIO) }
    pid = child
  }

  deinit { kill() }

  /// Whether it has ended.
  var hasEnded: Bool {
    if ended != nil { return true }
    var status: Int32 = 0
    guard waitpid(pid, &status, WNOHANG) == pid else { return false }
    ended = status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    return true
  }

  func signal(_ number: Int32) { if ended == nil { Glibc.kill(pid, number) } }

  func kill() {
    if hasEnded { return }
    Glibc.kill(pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    ended = 137
  }

  /// Waits for its end.
  func wait(within seconds: Double = patience) throws -> Finished {
    try waitUntil("the end of process \(pid)", within: seconds) { hasEnded }
    return Finished(
      code: ended ?? -1, standardOutput: text(outputPath), standardError: text(errorPath))
  }

  private func text(_ path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }

  /// Runs a program to its end, such as curl.
  static func run(
    _ words: [String], folder: String, within seconds: Double = patience
  ) throws -> Finished {
    try Command(words, folder: folder).wait(within: seconds)
  }
}

/// Whether a process that is no child of ours has ended, be it that nobody has asked for its code
/// yet.
func hasEnded(_ process: Int32) -> Bool {
  guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else {
    return true
  }
  return stat.split(separator: ")").last?.split(separator: " ").first == "Z"
}

private func withCStrings<R>(
  _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R
) -> R {
  let copies = strings.map { strdup($0) } + [nil]
  defer { for copy in copies { free(copy) } }
  return body(copies)
}

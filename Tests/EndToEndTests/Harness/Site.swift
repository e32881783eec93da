// The folder that a test's portico lives in, and the ports that are kept for it.

import Foundation

/// A folder with a configuration; removed when it goes.
final class Site: @unchecked Sendable {
  /// Ends in a slash. Users other than root can read it.
  let folder: String
  let ports = Ports()
  private let upstreams: [TestUpstream]

  init(config: String, files: [String: String] = [:], upstreams: [TestUpstream] = []) throws {
    var template = Array("/tmp/portico-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    folder =
      String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) + "/"
    chmod(folder, 0o755)
    self.upstreams = upstreams
    for (path, content) in files { try write(path, content) }
    try write("portico.conf", config)
  }

  deinit {
    if ProcessInfo.processInfo.environment["PORTICO_KEEP_FOLDERS"] == nil {
      try? FileManager.default.removeItem(atPath: folder)
    }
  }

  /// Writes a file with its placeholders filled in.
  func write(_ path: String, _ content: String) throws {
    let full = URL(fileURLWithPath: folder + path)
    try FileManager.default.createDirectory(
      at: full.deletingLastPathComponent(), withIntermediateDirectories: true)
    try fill(content).write(to: full, atomically: true, encoding: .utf8)
    chmod(full.path, 0o644)
  }

  /// The text of a file, empty if it isn't there.
  func text(_ path: String) -> String {
    guard let bytes = FileManager.default.contents(atPath: folder + path) else { return "" }
    return String(decoding: bytes, as: UTF8.self)
  }

  func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: folder + path) }

  /// The pid in a pid file.
  func pid(_ path: String) throws -> Int32 {
    guard let pid = Int32(text(path).trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw DeadlinePassed(what: "no pid in \(path)")
    }
    return pid
  }

  /// %%DIR%%, %%PORT_n%% and %%UPSTREAM_n%% filled in.
  func fill(_ text: String) -> String {
    var result = text.replacingOccurrences(of: "%%DIR%%", with: String(folder.dropLast()))
    for (index, upstream) in upstreams.enumerated() {
      result = result.replacingOccurrences(
        of: "%%UPSTREAM_\(index)%%", with: "127.0.0.1:\(upstream.port)")
    }
    while let range = result.range(of: "%%PORT_") {
      let digits = result[range.upperBound...].prefix { $0.isNumber }
      let end = result.index(digits.endIndex, offsetBy: 2)
      result.replaceSubrange(
        range.lowerBound..<end, with: String(ports.number(Int(digits) ?? 0)))
    }
    return result
  }

  func arguments(globals: String) -> [String] {
    ["-p", folder, "-c", "portico.conf", "-e", "error.log", "-g", fill(globals)]
  }

  /// Starts the binary, its output going to files of the folder.
  func command(
    _ arguments: [String], environment: [String: String] = [:], under: [String] = []
  ) throws -> Command {
    try Command(under + [Portico.binary] + arguments, folder: folder, environment: environment)
  }
}

/// Ports that no other process is given as long as this lives: each is bound, but doesn't listen,
/// which doesn't keep portico from listening there (both have SO_REUSEADDR).
final class Ports: @unchecked Sendable {
  private var held: [Int: (socket: Int32, number: UInt16)] = [:]

  deinit { for (_, each) in held { close(each.socket) } }

  /// The port behind %%PORT_index%%.
  func number(_ index: Int) -> UInt16 {
    if let known = held[index] { return known.number }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    let number = bindLoopback(descriptor)
    held[index] = (descriptor, number)
    return number
  }
}

/// Binds to a port of 127.0.0.1 that the kernel chooses.
func bindLoopback(_ descriptor: Int32) -> UInt16 {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  return withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
      precondition(bind(descriptor, pointer, length) == 0, "no free port")
      getsockname(descriptor, pointer, &length)
    }
    return UInt16(bigEndian: pointer.pointee.sin_port)
  }
}

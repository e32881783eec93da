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

// A folder for the files of one test: logs that are written, files that are served.

import CLinux
import Foundation

@testable import Engine

/// A folder of its own for one test, removed with what is in it.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "portico-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The content of a file in the folder.
  func text(of name: String) -> String {
    let fd = linux_open(path + "/" + name, O_RDONLY, 0)
    guard fd >= 0 else { return "no file: \(-fd)" }
    var content: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65_536)
    while case let count = linux_read(Int32(fd), &block, block.count), count > 0 {
      content += block.prefix(Int(count))
    }
    _ = linux_close(Int32(fd))
    return String(decoding: content, as: UTF8.self)
  }

  /// The lines of a file in the folder.
  func lines(of name: String) -> [String] {
    text(of: name).split(separator: "\n").map(String.init)
  }

  /// Creates or replaces a file in place.
  func write(_ text: String, to name: String) {
    let fd = Int32(linux_open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0o644))
    _ = text.withBytes { LogOutput.write($0, to: fd) }
    _ = linux_close(fd)
  }

  /// Whether an open descriptor is of a file in this folder. The number alone says nothing: tests
  /// that run beside this one take the numbers that it closes.
  func holds(_ fd: Int32) -> Bool {
    var target = [CChar](repeating: 0, count: 512)
    guard unsafe linux_readlink("/proc/self/fd/\(fd)", &target, 511) > 0 else { return false }
    return String(decoding: target.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      .hasPrefix(path)
  }
}

// Somebody who has a log to read and doesn't.

import CSpawn
import Foundation

/// The other end of a log that nobody reads, for as long as this lives.
final class StoppedReader {
  enum Kind: CaseIterable {
    case namedPipe
    case pipe
    case terminal
    case socket
  }

  /// What `access_log` names.
  let logName: String
  /// Becomes portico, with the log as its standard output.
  let command: [String]
  private let descriptor: Int32

  init(_ kind: Kind, folder: String) throws {
    let path = folder + "reader"
    switch kind {
    case .namedPipe, .pipe:
      guard mkfifo(path, 0o666) == 0 else { throw POSIXError(.EIO) }
      descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
      logName = kind == .pipe ? "/dev/stdout" : path
      command = kind == .pipe ? ["sh", "-c", "exec \"$@\" >'\(path)'", "sh"] : []
    case .terminal:
      descriptor = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)
      guard unlockpt(descriptor) == 0, let name = ptsname(descriptor) else {
        throw POSIXError(.EIO)
      }
      logName = "/dev/stdout"
      command = ["sh", "-c", "exec \"$@\" >'\(String(cString: name))'", "sh"]
    case .socket:
      descriptor = try Self.listener(path)
      logName = "/dev/stdout"
      let connect = """
        import os, socket, sys
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(sys.argv[1])
        os.dup2(reader.fileno(), 1)
        os.execv(sys.argv[2], sys.argv[2:])
        """
      command = ["python3", "-c", connect, path]
    }
    guard descriptor >= 0 else { throw POSIXError(.EIO) }
  }

  deinit { close(descriptor) }

  private static func listener(_ path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let bound = withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard bound == 0, listen(descriptor, 1) == 0 else { throw POSIXError(.EIO) }
    return descriptor
  }
}

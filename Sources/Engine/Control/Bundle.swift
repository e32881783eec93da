// The bundle: everything that a configuration was read from, as bytes. The supervisor records it
// while it validates; the worker process builds its plans from the record and never opens those
// files.
//
// So what was checked is what runs (nothing can change in between), the worker needs no right to
// read private keys, and a worker that died is replaced even if the disk holds something broken
// meanwhile.
//
//   "PORTICOB" version | options | privileged | files | patterns | environment | hosts
//   | configuration files
//
// Numbers are little-endian; strings, byte strings and lists carry their length in front.

import CLinux

/// A configuration as it was read once.
struct Bundle: Sendable, Equatable {
  /// What reading a path gave.
  enum File: Sendable, Equatable {
    case content([UInt8])
    /// The error number of open(2) or read(2).
    case failed(Int32)
  }

  /// What the command line said.
  var options: StartOptions
  /// Whether the process that opens sockets is root's: the worker process may be another user's.
  var isPrivileged: Bool
  /// Every path that was read, whether it exists or not.
  var files: [String: File] = [:]
  /// What each `include` pattern matched.
  var patterns: [String: [String]] = [:]
  /// Each environment variable that was asked for.
  var environment: [String: String?] = [:]
  /// The addresses of each host that was asked for.
  var hosts: [String: [String]] = [:]
  /// The configuration files proper, in the order in which they were read: what `-T` prints.
  var configurationFiles: [String] = []

  /// The bytes of the bundle, with everything in a settled order.
  func encoded() -> [UInt8] {
    var writer = BundleWriter()
    writer.bytes += Self.magic
    writer.number(UInt64(Self.version))
    options.encode(to: &writer)
    writer.flag(isPrivileged)
    writer.list(files.sorted { $0.key < $1.key }) { writer, file in
      writer.string(file.key)
      switch file.value {
      case .content(let bytes):
        writer.number(0)
        writer.blob(bytes)
      case .failed(let code): writer.number(UInt64(code))
      }
    }
    writer.list(patterns.sorted { $0.key < $1.key }) { writer, pattern in
      writer.string(pattern.key)
      writer.list(pattern.value) { $0.string($1) }
    }
    writer.list(environment.sorted { $0.key < $1.key }) { writer, variable in
      writer.string(variable.key)
      writer.optionalString(variable.value)
    }
    writer.list(hosts.sorted { $0.key < $1.key }) { writer, host in
      writer.string(host.key)
      writer.list(host.value) { $0.string($1) }
    }
    writer.list(configurationFiles) { $0.string($1) }
    return writer.bytes
  }

  /// Reads what `encoded` wrote; nil for anything else.
  init?(decoding bytes: [UInt8]) {
    var reader = BundleReader(bytes)
    guard reader.take(Self.magic.count) == Self.magic, reader.number() == UInt64(Self.version),
      let options = StartOptions(decoding: &reader)
    else { return nil }
    self.options = options
    isPrivileged = reader.flag()
    reader.list { reader in
      let path = reader.string()
      let code = reader.number()
      files[path] = code == 0 ? .content(reader.blob()) : .failed(Int32(truncatingIfNeeded: code))
    }
    reader.list { reader in
      let pattern = reader.string()
      var paths: [String] = []
      reader.list { paths.append($0.string()) }
      patterns[pattern] = paths
    }
    reader.list { reader in
      let name = reader.string()
      environment.updateValue(reader.optionalString(), forKey: name)
    }
    reader.list { reader in
      let host = reader.string()
      var addresses: [String] = []
      reader.list { addresses.append($0.string()) }
      hosts[host] = addresses
    }
    reader.list { configurationFiles.append($0.string()) }
    if reader.isBroken || !reader.isAtEnd { return nil }
  }

  init(options: StartOptions, isPrivileged: Bool = true) {
    self.options = options
    self.isPrivileged = isPrivileged
  }

  private static let magic = Array("PORTICOB".utf8)
  // Supervisor and worker are always the same binary; the version catches what breaks that.
  private static let version: UInt32 = 3
}

extension Bundle {
  /// The bundle in a file without a name, for sending its descriptor to the worker process.
  func makeDescriptor() throws(SystemError) -> Int32 {
    try ProcessFiles.makeNameless("portico-bundle", encoded())
  }

  /// Reads a bundle from a descriptor, wherever its position is.
  init?(descriptor: Int32) {
    guard let bytes = try? BundleReader.readAll(descriptor) else { return nil }
    self.init(decoding: bytes)
  }
}

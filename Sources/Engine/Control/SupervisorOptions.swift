// What the command line says about how to start: paths, global directives, and the files that exist
// in memory only (`portico serve` and `portico proxy` have no configuration file on the disk). They
// are part of the bundle, because the worker process resolves paths as the supervisor does.

/// The command line, once understood. All paths are absolute.
public struct StartOptions: Sendable, Equatable {
  /// `-p`, with a slash at its end: where logs, pid file and temporary files are.
  public var prefix: String
  /// `-c`.
  public var configurationPath: String
  /// `-g`: directives of the main context.
  public var globalDirectives: String
  /// `-e`: where errors go until the configuration says something else.
  public var errorLogPath: String
  /// `-q`: a successful test says nothing.
  public var isQuiet = false
  /// Files that exist in memory only, by path.
  public var overlay: [String: [UInt8]] = [:]

  /// Resolves what the command line gave against `prefix`, and `prefix` against the working folder.
  public init(
    prefix: String? = nil, configurationPath: String? = nil, globalDirectives: String = "",
    errorLogPath: String? = nil
  ) {
    var folder = ProcessFiles.absolute(
      prefix ?? Self.defaultPrefix, in: ProcessFiles.workingFolder)
    if !folder.hasSuffix("/") { folder += "/" }
    self.prefix = folder
    self.configurationPath = ProcessFiles.absolute(
      configurationPath ?? Self.defaultConfigurationPath, in: folder)
    self.globalDirectives = globalDirectives
    let errorLog = errorLogPath ?? Self.defaultErrorLogPath
    self.errorLogPath =
      errorLog == "stderr" ? errorLog : ProcessFiles.absolute(errorLog, in: folder)
  }

  /// Where certificates and included files are relative to.
  public var configurationFolder: String {
    (ProcessFiles.parent(of: configurationPath) ?? "") + "/"
  }

  /// Whether the configuration was made of a command's arguments (`portico serve`).
  var isInstant: Bool { overlay[configurationPath] != nil }

  public static let defaultPrefix = "/usr/local/portico/"
  public static let defaultConfigurationPath = "conf/portico.conf"
  public static let defaultErrorLogPath = "logs/error.log"
  public static let defaultPidPath = "logs/portico.pid"
}

extension StartOptions {
  func encode(to writer: inout BundleWriter) {
    for text in [prefix, configurationPath, globalDirectives, errorLogPath] { writer.string(text) }
    writer.flag(isQuiet)
    writer.list(overlay.sorted { $0.key < $1.key }) { writer, file in
      writer.string(file.key)
      writer.blob(file.value)
    }
  }

  init?(decoding reader: inout BundleReader) {
    prefix = reader.string()
    configurationPath = reader.string()
    globalDirectives = reader.string()
    errorLogPath = reader.string()
    isQuiet = reader.flag()
    reader.list { reader in
      let path = reader.string()
      overlay[path] = reader.blob()
    }
    if reader.isBroken { return nil }
  }
}

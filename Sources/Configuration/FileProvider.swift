// How the parser reaches files and the environment: through whoever calls it.
//
// The supervisor passes a provider that reads the disk and keeps the bytes for the bundle; the
// worker passes one that answers from the bundle; tests and the fuzzer pass `MemoryFiles`.

/// Why a file could not be read.
public struct FileError: Error, Sendable {
  /// The reason as the operating system words it, such as `no such file or directory`.
  public var reason: String

  public init(reason: String) {
    self.reason = reason
  }
}

/// Access to files and to the environment.
public protocol FileProvider {
  /// The whole contents of a file.
  func read(_ path: String) throws(FileError) -> [UInt8]
  /// The paths that match a shell pattern, sorted. No match is an empty array.
  func glob(_ pattern: String) throws(FileError) -> [String]
  /// The value of a variable of the process environment; nil when it isn't set.
  func environment(_ name: String) -> String?
  /// The addresses of a host, as text; none when it isn't known.
  func addresses(of host: String) -> [String]
}

/// Files and environment held in memory.
public struct MemoryFiles: FileProvider, Sendable {
  public var files: [String: [UInt8]]
  public var variables: [String: String]
  public var hosts: [String: [String]] = [:]

  public init(_ files: [String: String] = [:], environment variables: [String: String] = [:]) {
    self.files = files.mapValues { Array($0.utf8) }
    self.variables = variables
  }

  public func read(_ path: String) throws(FileError) -> [UInt8] {
    guard let bytes = files[path] else { throw FileError(reason: "no such file or directory") }
    return bytes
  }

  public func glob(_ pattern: String) throws(FileError) -> [String] {
    let patternBytes = Array(pattern.utf8)
    return files.keys.filter { matches(Array($0.utf8)[...], patternBytes[...]) }.sorted()
  }

  public func addresses(of host: String) -> [String] { hosts[host] ?? [] }

  public func environment(_ name: String) -> String? {
    variables[name]
  }

  /// Whether a path matches a pattern of `*` and `?`, which don't match a slash.
  private func matches(_ path: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    guard let wanted = pattern.first else { return path.isEmpty }
    let slash = UInt8(ascii: "/")
    if wanted == UInt8(ascii: "*") {
      if matches(path, pattern.dropFirst()) { return true }
      guard let first = path.first, first != slash else { return false }
      return matches(path.dropFirst(), pattern)
    }
    guard let first = path.first else { return false }
    let isMatch = wanted == UInt8(ascii: "?") ? first != slash : first == wanted
    return isMatch && matches(path.dropFirst(), pattern.dropFirst())
  }
}

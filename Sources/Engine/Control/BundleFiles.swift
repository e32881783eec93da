// The two sources of configuration bytes: the disk, recorded into a bundle while it is read (the
// supervisor), and a bundle, replayed (the worker process). Reading the same configuration from
// either gives the same plan.

import CLinux

/// Reads from the disk and remembers every answer.
final class RecordedFiles {
  private(set) var bundle: Bundle
  /// What serves meanwhile, read when it is asked for: there is seldom a reason to.
  private lazy var serving = servingDescriptor.flatMap { Bundle(descriptor: $0) }
  private let servingDescriptor: Int32?

  /// - Parameter serving: the descriptor of the bundle that a running server has, at a reload.
  init(options: StartOptions, serving: Int32? = nil) {
    bundle = Bundle(options: options, isPrivileged: Identity.canChange)
    servingDescriptor = serving
  }

  /// The content of a file. The second reading of a path gives what the first one gave, so that a
  /// file that changes meanwhile can't be two things in one configuration.
  func content(_ path: String) -> Bundle.File {
    if let known = bundle.files[path] { return known }
    let file: Bundle.File
    if let bytes = bundle.options.overlay[path] {
      file = .content(bytes)
    } else {
      file = read(path)
    }
    bundle.files[path] = file
    return file
  }

  /// At a reload nobody waits for who writes into a pipe; what was in it at the start still counts.
  private func read(_ path: String) -> Bundle.File {
    let isReload = servingDescriptor != nil
    if isReload, case .success(let status) = unsafe FileStatus.of(path: path),
      status.kind == .other, let content = served(path)
    {
      return .content(content)
    }
    do {
      return .content(try ProcessFiles.read(path, waits: !isReload))
    } catch {
      return .failed(error.code)
    }
  }

  /// The paths that a pattern matches, sorted.
  func matches(_ pattern: String) -> [String] {
    if let known = bundle.patterns[pattern] { return known }
    let paths = ProcessFiles.glob(pattern)
    bundle.patterns[pattern] = paths
    return paths
  }

  /// An environment variable.
  func variable(_ name: String) -> String? {
    if let known = bundle.environment[name] { return known }
    let value = ProcessFiles.environment(name)
    bundle.environment.updateValue(value, forKey: name)
    return value
  }

  /// The addresses of a host.
  func lookedUp(_ host: String) -> [String] {
    if let known = bundle.hosts[host] { return known }
    let addresses = ProcessFiles.addresses(of: host)
    bundle.hosts[host] = addresses
    return addresses
  }

  /// The content of a file in the bundle that serves.
  func served(_ path: String) -> [UInt8]? {
    guard case .content(let bytes)? = serving?.files[path] else { return nil }
    return bytes
  }

  /// Records a file as the bundle that serves has it.
  func keepServed(_ path: String) { bundle.files[path] = serving?.files[path] }

  /// Names the files that are configuration proper, in order.
  func noteConfigurationFiles(_ paths: [String]) { bundle.configurationFiles = paths }
}

/// Answers from a bundle. What the supervisor didn't read doesn't exist.
final class ReplayedFiles {
  let bundle: Bundle

  init(_ bundle: Bundle) { self.bundle = bundle }

  func content(_ path: String) -> Bundle.File { bundle.files[path] ?? .failed(ENOENT) }

  func matches(_ pattern: String) -> [String] { bundle.patterns[pattern] ?? [] }

  func variable(_ name: String) -> String? { bundle.environment[name] ?? nil }
}

// From bytes to plans: the one place where supervisor, worker process and command line have the
// configuration read. The supervisor reads the disk and throws the plan away after it took the
// settings that concern it; the worker process builds one plan for each worker thread.

import CLinux
import Configuration

/// What came of reading a configuration.
struct ConfigurationReading {
  /// What the plan was made of.
  let tree: ConfigurationTree
  /// The plan, or nil if the configuration has errors.
  let plan: Plan?
  /// Errors, one line each, for logs.
  let problems: [String]
  /// Warnings, one line each, for logs.
  let warnings: [String]
  /// Errors and warnings with source lines and carets, for people.
  let report: String
}

extension RecordedFiles: FileProvider, ServedFiles {
  func read(_ path: String) throws(FileError) -> [UInt8] { try content(path).bytes() }
  func glob(_ pattern: String) throws(FileError) -> [String] { matches(pattern) }
  func environment(_ name: String) -> String? { variable(name) }
  func addresses(of host: String) -> [String] { lookedUp(host) }

  // Plans made here are only looked at, one after another: they share the memory of their servers'
  // states, which a registry never gives back.
  private static let registry = PeerRegistry()

  private static func emptiedRegistry() -> PeerRegistry {
    registry.recycle(keeping: [], now: 0)
    registry.recycle(keeping: [], now: .max)
    return registry
  }

  /// Reads the configuration from the disk. The plan is to be gone before the next reading.
  ///
  /// At a reload a certificate that can't be used is no reason to refuse: what is served in its
  /// place stays in use; if nothing is, its site alone is down. `servedUpstreams` are the names of
  /// the `upstream` blocks that serve meanwhile.
  func readConfiguration(
    isReload: Bool = false, checks: CertificateChecks = .doubtful,
    servedUpstreams: Set<String> = []
  ) -> ConfigurationReading {
    let surroundings = PlanSurroundings(
      paths: bundle.options.planPaths, isPrivileged: bundle.isPrivileged,
      registry: Self.emptiedRegistry(),
      ticketKeys: TLSTicketKeyRing(), zones: ZoneRegistry<LimitZone>(),
      certificateChecks: checks, toleratesBrokenCertificates: isReload, served: self,
      servedUpstreams: servedUpstreams)
    let reading = ConfigurationText(bundle.options, self).reading(surroundings, self)
    let written = reading.tree.sources.files.filter { $0.kind == .configuration }
    noteConfigurationFiles(written.map(\.path))
    return reading
  }

  /// What `pid` says, even if something else in the configuration is wrong.
  func readPidPath() -> String? {
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(
      path: bundle.options.configurationPath, globalDirectives: bundle.options.directives,
      files: self, diagnostics: &diagnostics)
    let pid = tree.directives.last { $0.name.text == "pid" && $0.arguments.count == 1 }
    return pid?.arguments[0].text ?? MainSettings().pidPath
  }
}

extension ReplayedFiles: FileProvider {
  func read(_ path: String) throws(FileError) -> [UInt8] { try content(path).bytes() }
  func glob(_ pattern: String) throws(FileError) -> [String] { matches(pattern) }
  func environment(_ name: String) -> String? { variable(name) }
  func addresses(of host: String) -> [String] { bundle.hosts[host] ?? [] }

  /// Builds one plan for each worker thread.
  func makePlans(
    _ registry: PeerRegistry, _ ticketKeys: TLSTicketKeyRing, _ zones: ZoneRegistry<LimitZone>,
    _ caches: CacheZones, _ sessionZones: ZoneRegistry<TLSSessionZone>
  ) throws(ApplyFailure) -> [Plan] {
    let surroundings = PlanSurroundings(
      paths: bundle.options.planPaths, isPrivileged: bundle.isPrivileged, registry: registry,
      ticketKeys: ticketKeys, zones: zones, caches: caches, sessionZones: sessionZones,
      toleratesBrokenCertificates: true)
    let text = ConfigurationText(bundle.options, self)
    var plans: [Plan] = []
    repeat {
      let reading = text.reading(surroundings, self)
      guard let plan = reading.plan else { throw ApplyFailure(reading.problems) }
      plans.append(plan)
    } while plans.count < plans[0].main.workerCount
    return plans
  }
}

/// A configuration that was parsed, of which any number of plans can be made.
private struct ConfigurationText {
  private let tree: ConfigurationTree
  /// What the parser found.
  private let diagnostics: Diagnostics

  init(_ options: StartOptions, _ files: some FileProvider) {
    var diagnostics = Diagnostics()
    tree = parseConfiguration(
      path: options.configurationPath, globalDirectives: options.directives, files: files,
      diagnostics: &diagnostics)
    self.diagnostics = diagnostics
  }

  /// Compiles it into a plan.
  func reading(
    _ surroundings: PlanSurroundings, _ files: some FileProvider
  ) -> ConfigurationReading {
    var diagnostics = diagnostics
    let plan = PlanBuilder.build(
      tree, files: files, surroundings: surroundings, diagnostics: &diagnostics)
    let lines = { (severity: Diagnostic.Severity) in
      diagnostics.all.filter { $0.severity == severity }.map { $0.compact(tree.sources) }
    }
    return ConfigurationReading(
      tree: tree, plan: plan, problems: lines(.error), warnings: lines(.warning),
      report: diagnostics.render(tree.sources))
  }
}

extension StartOptions {
  var planPaths: PlanPaths { PlanPaths(prefix: prefix, confFolder: configurationFolder) }
  /// `-g`, as the parser wants it.
  var directives: [String] { globalDirectives.isEmpty ? [] : [globalDirectives] }
}

extension Bundle.File {
  /// The content, or why there is none.
  func bytes() throws(FileError) -> [UInt8] {
    switch self {
    case .content(let bytes): return bytes
    case .failed(let code): throw FileError(reason: SystemError(code: code).logText)
    }
  }
}

extension MainSettings {
  /// How many worker threads there are.
  var workerCount: Int { max(1, workerProcesses ?? Int(linux_processor_count())) }
}

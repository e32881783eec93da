// Certificates on disk, looked at once a second (`ssl_certificate_watch`): a renewed pair is read,
// checked and handed to the worker process; a pair that is no good is reported once and left alone.
//
// Only the supervisor has the right to read keys, and only it has the bundle, which gets the new
// bytes too, so that a worker process that is replaced starts with them. As at a start, OpenSSL
// judges only what `TLSFirstLook` can't: 1,000 renewed pairs would take it 2 s. A file is read when
// its status says that it changed; the key's status counts only while a pair is half renewed, which
// halves the system calls (10,000 certificates: 10,000 stat(2) a second, about 5 % of a core).

import CLinux

/// The pairs that a configuration wants to be watched.
struct CertificateWatch {
  /// What one look found.
  struct Findings {
    var renewed: [CertificateRenewal] = []
    /// Why a changed pair isn't taken up.
    var refused: [String] = []
    var warnings: [String] = []
  }

  /// What is kept of a pair. Its names are in `texts`: 10,000 strings of their own, made while a
  /// plan fills the heap, would keep the plan's pages from going back to the system (2 KiB each).
  private struct Pair {
    let certificate: Range<Int>
    let key: Range<Int>
    let passwords: [[UInt8]]
    /// nil: to be read at the next look, whatever its status.
    var certificateStatus: FileStatus?
    var keyStatus: FileStatus?
    /// Of the content that is served.
    var served: Int
    /// Of the content that was refused last.
    var refused: Int?
  }

  private var pairs: [Pair] = []
  private var texts: [UInt8] = []
  private var paths = PlanPaths(prefix: "/", confFolder: "/")

  var isEmpty: Bool { pairs.isEmpty }

  init() {}

  /// The pairs of `plan`, whose files were just read.
  init(_ plan: Plan) {
    let policies = plan.listens.flatMap(\.addresses).flatMap(\.sites).compactMap(\.tls)
    self.init(policies.filter(\.isWatched).flatMap(\.certificates), paths: plan.paths)
  }

  /// The pairs of `sources`, which are served with the content that they have here.
  init(_ sources: [TLSCertificateSource], paths: PlanPaths) {
    self.paths = paths
    var known: Set<String> = []
    for source in sources where !source.isData {
      guard known.insert("\(source.certificatePath)\n\(source.keyPath)").inserted else { continue }
      pairs.append(
        Pair(
          certificate: keep(source.certificatePath), key: keep(source.keyPath),
          passwords: source.passwords,
          served: Self.digest(source.certificatePEM, source.keyPEM)))
    }
  }

  private mutating func keep(_ text: String) -> Range<Int> {
    let start = texts.count
    texts += text.utf8
    return start..<texts.count
  }

  /// The name of a file as the configuration has it, and its path.
  private func file(_ range: Range<Int>) -> (name: String, path: String) {
    let name = String(decoding: texts[range], as: UTF8.self)
    return (name, paths.confFile(name))
  }

  /// Looks at all pairs. `now` is seconds since 1970.
  mutating func look(
    now: Int, makeLibrary: @escaping () -> TLSLibrary = { TLSLibrary() }
  ) -> Findings {
    var findings = Findings()
    // One for all pairs: a pair takes OpenSSL less time than a library and its algorithms.
    lazy var library = makeLibrary()
    for index in pairs.indices where hasChanged(index, now) {
      guard let source = reread(index, now, &findings) else { continue }
      let isSound = TLSFirstLook.isSound(source, now: Int64(now))
      let problems =
        isSound ? [] : TLSCheck.certificate(source, now: Int64(now), library: library)
      take(source, problems, index, &findings)
    }
    return findings
  }

  private mutating func hasChanged(_ index: Int, _ now: Int) -> Bool {
    let pair = pairs[index]
    let status = Self.status(file(pair.certificate).path, now)
    if let status, status == pair.certificateStatus {
      guard pair.refused != nil else { return false }
      let keyStatus = Self.status(file(pair.key).path, now)
      return keyStatus == nil || keyStatus != pair.keyStatus
    }
    return true
  }

  /// Reads a pair again; nil when it can't be read, or is what is served or was refused already.
  private mutating func reread(
    _ index: Int, _ now: Int, _ findings: inout Findings
  ) -> TLSCertificateSource? {
    var pair = pairs[index]
    let (certificate, key) = (file(pair.certificate), file(pair.key))
    pair.certificateStatus = Self.status(certificate.path, now)
    pair.keyStatus = Self.status(key.path, now)
    defer { pairs[index] = pair }
    guard Self.isReadAgain(certificate.path), Self.isReadAgain(key.path) else { return nil }
    var source = TLSCertificateSource(
      certificatePEM: [], keyPEM: [], certificatePath: certificate.name, keyPath: key.name,
      passwords: pair.passwords)
    do throws(SystemError) {
      source.certificatePEM = try ProcessFiles.read(certificate.path, waits: false)
      source.keyPEM = try ProcessFiles.read(key.path, waits: false)
    } catch {
      // Renewing may take the file away for a moment; one that stays away is said once.
      let digest = Int(error.code)
      if pair.refused != digest {
        findings.refused.append(
          "certificate \"\(source.certificatePath)\" can't be read again: \(error.logText)")
      }
      pair.refused = digest
      return nil
    }
    let digest = Self.digest(source.certificatePEM, source.keyPEM)
    if digest == pair.served {
      pair.refused = nil
      return nil
    }
    return digest == pair.refused ? nil : source
  }

  /// Takes a pair up that was read again, or refuses it for its `problems`.
  private mutating func take(
    _ source: TLSCertificateSource, _ problems: [TLSProblem], _ index: Int,
    _ findings: inout Findings
  ) {
    let digest = Self.digest(source.certificatePEM, source.keyPEM)
    if let error = problems.first(where: { $0.severity != .warning }) {
      pairs[index].refused = digest
      findings.refused.append(
        "\(error.message); the certificate that was there before stays in use")
      return
    }
    findings.warnings += problems.map(\.message)
    pairs[index].refused = nil
    pairs[index].served = digest
    findings.renewed.append(
      CertificateRenewal(
        certificatePath: source.certificatePath, keyPath: source.keyPath,
        certificatePEM: source.certificatePEM, keyPEM: source.keyPEM))
  }

  /// Whether there is something new to find at `path`: not in a pipe, which gives what it has once.
  private static func isReadAgain(_ path: String) -> Bool {
    guard case .success(let status) = unsafe FileStatus.of(path: path) else { return true }
    return status.kind != .other
  }

  /// The status of a file; nil where it proves nothing.
  private static func status(_ path: String, _ now: Int) -> FileStatus? {
    guard case .success(let status) = unsafe FileStatus.of(path: path),
      status.hasComeToRest(at: now)
    else { return nil }
    return status
  }

  private static func digest(_ certificate: [UInt8], _ key: [UInt8]) -> Int {
    var hasher = Hasher()
    hasher.combine(certificate)
    hasher.combine(key)
    return hasher.finalize()
  }
}

extension Supervisor {
  /// How often certificates are looked at.
  static let watchPeriodMs: Milliseconds = 1000

  /// Takes renewed certificates up. What else changed on disk waits for a reload.
  func lookAtCertificates() {
    guard case .serving = state, reloads.next == nil else { return }
    var watch = current.certificates
    let findings = watch.look(now: Int(Clock.wall / 1000))
    do {
      try hand(over: findings.renewed)
    } catch {
      // The next look finds them again.
      return log.write(.error, "handing a renewed certificate over failed \(error.logText)")
    }
    current.certificates = watch
    for refusal in findings.refused { log.write(.error, refusal) }
    for warning in findings.warnings { log.write(.warn, warning) }
    for renewal in findings.renewed {
      log.write(.notice, "certificate \"\(renewal.certificatePath)\" was renewed and is in use")
    }
  }

  /// Puts renewed pairs into the bundle, and gives them to the worker process.
  private func hand(over renewals: [CertificateRenewal]) throws(SystemError) {
    if renewals.isEmpty { return }
    try current.take(renewals, options)
    for order in WorkerOrder.renewing(renewals) { try worker?.channel.send(order) }
  }
}

extension WorkerOrder {
  /// Orders that hand `renewals` over, each small enough for a packet, unless a pair alone isn't:
  /// that goes in a file.
  static func renewing(_ renewals: [CertificateRenewal]) -> [WorkerOrder] {
    var orders: [WorkerOrder] = []
    var next: [CertificateRenewal] = []
    var byteCount = 0
    for renewal in renewals {
      // Bound: four lengths, and what an order begins with.
      let size =
        renewal.certificatePath.utf8.count + renewal.keyPath.utf8.count
        + renewal.certificatePEM.count + renewal.keyPEM.count + 64
      if !next.isEmpty && byteCount + size > WorkerProcessChannel.packetBytes {
        orders.append(.renew(next))
        (next, byteCount) = ([], 0)
      }
      next.append(renewal)
      byteCount += size
    }
    if !next.isEmpty { orders.append(.renew(next)) }
    return orders
  }
}

extension SupervisorGeneration {
  /// Puts renewed certificates into the bundle.
  mutating func take(_ renewals: [CertificateRenewal], _ options: StartOptions) throws(SystemError)
  {
    guard var content = Bundle(descriptor: bundle) else { throw SystemError(code: EIO) }
    for renewal in renewals {
      content.files[options.planPaths.confFile(renewal.certificatePath)] = .content(
        renewal.certificatePEM)
      content.files[options.planPaths.confFile(renewal.keyPath)] = .content(renewal.keyPEM)
    }
    let next = try content.makeDescriptor()
    _ = linux_close(bundle)
    bundle = next
  }
}

// Loading certificates whose names have variables: an exchange evaluates them, the one that needs
// the connection to an upstream, or one that exists only while a client's handshake asks.
//
// Files are read while the loop waits, as nginx does; `ssl_certificate_cache` makes that rare. The
// worker process reads them, so they must be readable by its user.

import HTTP

extension Exchange {
  /// Puts the certificates into `session`. False: a log line says why not.
  func load(_ dynamic: DynamicCertificates, into session: TLSSession) -> Bool {
    session.dropCertificates()
    do throws(TLSConfigurationError) {
      for pair in dynamic.pairs { try load(pair.certificate, pair.key, dynamic, into: session) }
      return true
    } catch {
      log(.error, "\(error.message)")
      return false
    }
  }

  /// What the names evaluate to: tells connections with one certificate from those with another.
  func names(of dynamic: DynamicCertificates) -> String {
    dynamic.pairs.flatMap { [$0.certificate, $0.key] }.map { evaluate($0.template).string }
      .joined(separator: "\0")
  }

  private func load(
    _ certificate: CertificateLocation, _ key: CertificateLocation, _ dynamic: DynamicCertificates,
    into session: TLSSession
  ) throws(TLSConfigurationError) {
    let name = evaluate(certificate.template).string
    // As in nginx: no name, no certificate.
    if name.isEmpty { return }
    let keyName = evaluate(key.template).string
    let named = NamedPair(
      certificate: name, certificatePath: certificate.isData ? nil : try path(name, dynamic),
      key: keyName, keyPath: key.isData ? nil : try path(keyName, dynamic))
    let file = named.certificatePath.flatMap { dynamic.cache?.certificate($0, now: loop.now) }
    let loadedKey = named.keyPath.flatMap { dynamic.cache?.key($0, now: loop.now) }
    do throws(TLSConfigurationError) {
      try show(named, file, loadedKey, dynamic, in: session)
    } catch {
      guard file != nil || loadedKey != nil else { throw error }
      // Files are renewed one after the other: what is kept may be half of the former pair.
      try show(named, nil, nil, dynamic, in: session)
    }
  }

  /// What a certificate and its key are called, and their files; nil where the name is PEM itself.
  private struct NamedPair {
    let certificate: String
    let certificatePath: String?
    let key: String
    let keyPath: String?

    /// A message must not show a key.
    var shownNames: (certificate: String, key: String) {
      (
        certificatePath == nil ? TLSCertificateSource.dataName : certificate,
        keyPath == nil ? TLSCertificateSource.dataName : key
      )
    }
  }

  /// Puts a pair into `session`, and keeps it if it belongs together; what is nil is read.
  private func show(
    _ named: NamedPair, _ keptFile: TLSCertificateFile?, _ keptKey: TLSPrivateKey?,
    _ dynamic: DynamicCertificates, in session: TLSSession
  ) throws(TLSConfigurationError) {
    let file: TLSCertificateFile
    if let keptFile { file = keptFile } else { file = try certificateFile(named) }
    let key: TLSPrivateKey
    if let keptKey { key = keptKey } else { key = try privateKey(named, dynamic.passwords) }
    try session.use(file, key, names: named.shownNames)
    if keptFile == nil, let path = named.certificatePath {
      dynamic.cache?.keep(file, path, now: loop.now)
    }
    if keptKey == nil, let path = named.keyPath { dynamic.cache?.keep(key, path, now: loop.now) }
  }

  private func certificateFile(
    _ named: NamedPair
  ) throws(TLSConfigurationError) -> TLSCertificateFile {
    let pem = try read(named.certificatePath, orIn: named.certificate, "certificate")
    return try TLSCertificateFile(
      pem: pem, path: named.certificatePath ?? TLSCertificateSource.dataName,
      library: core.tlsLibrary)
  }

  private func privateKey(
    _ named: NamedPair, _ passwords: [[UInt8]]
  ) throws(TLSConfigurationError) -> TLSPrivateKey {
    let pem = try read(named.keyPath, orIn: named.key, "key")
    let source = TLSCertificateSource(
      certificatePEM: [], keyPEM: pem, certificatePath: "",
      keyPath: named.keyPath ?? TLSCertificateSource.dataName, passwords: passwords)
    return try TLSPrivateKey(source: source, library: core.tlsLibrary)
  }

  /// The path of a file. Names come from clients: none leads out of a folder.
  private func path(
    _ name: String, _ dynamic: DynamicCertificates
  ) throws(TLSConfigurationError) -> String {
    let isSafe = !name.utf8.contains(0) && !name.split(separator: "/").contains("..")
    guard isSafe else {
      throw TLSConfigurationError("cannot load \"\(name)\": the name leads out of its folder")
    }
    return name.hasPrefix("/") ? name : dynamic.folder + name
  }

  private func read(
    _ path: String?, orIn text: String, _ what: String
  ) throws(TLSConfigurationError) -> [UInt8] {
    guard let path else { return Array(text.utf8) }
    do throws(SystemError) {
      return try ProcessFiles.read(path, waits: false)
    } catch {
      throw TLSConfigurationError("cannot load \(what) \"\(path)\": \(error.logText)")
    }
  }
}

/// Chooses by server name, and finds certificates that have variables in their names.
final class DynamicNameResolver: SiteNameResolver {
  private unowned let core: WorkerCore
  private unowned let plan: Plan

  init(_ address: AddressPlan, _ core: WorkerCore, _ plan: Plan) {
    self.core = core
    self.plan = plan
    super.init(address, core.tlsLibrary, core.errorLog)
  }

  override func findCertificates(
    _ dynamic: TLSDynamicCertificates, for session: TLSSession
  ) -> Bool {
    guard let dynamic = dynamic as? DynamicCertificates,
      let facts = unsafe session.connection as? ConnectionFacts
    else { return false }
    // Variables are all that this exchange evaluates: its client needs no more than facts.
    let exchange = core.takeExchange(ClientStream(facts), plan)
    defer { exchange.abandon() }
    exchange.enter(address)
    return exchange.load(dynamic, into: session)
  }
}

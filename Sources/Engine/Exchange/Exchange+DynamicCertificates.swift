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
    dynamic.pairs.map { evaluate($0.certificate.template).string }.joined(separator: "\0")
  }

  private func load(
    _ certificate: CertificateLocation, _ key: CertificateLocation, _ dynamic: DynamicCertificates,
    into session: TLSSession
  ) throws(TLSConfigurationError) {
    let name = evaluate(certificate.template).string
    // As in nginx: no name, no certificate.
    if name.isEmpty { return }
    let keyName = evaluate(key.template).string
    let file = try certificateFile(name, certificate.isData, dynamic)
    let loadedKey = try privateKey(keyName, key.isData, dynamic)
    try session.use(
      file, loadedKey,
      names: (
        certificate.isData ? TLSCertificateSource.dataName : name,
        key.isData ? TLSCertificateSource.dataName : keyName
      ))
  }

  private func certificateFile(
    _ name: String, _ isData: Bool, _ dynamic: DynamicCertificates
  ) throws(TLSConfigurationError) -> TLSCertificateFile {
    if isData {
      return try TLSCertificateFile(
        pem: Array(name.utf8), path: TLSCertificateSource.dataName, library: core.tlsLibrary)
    }
    let path = try path(name, dynamic)
    if case .certificate(let known)? = dynamic.cache?.find("c" + path, now: loop.now) {
      return known
    }
    let pem = try read(path, "certificate")
    let file = try TLSCertificateFile(pem: pem, path: path, library: core.tlsLibrary)
    dynamic.cache?.keep(.certificate(file), "c" + path, now: loop.now)
    return file
  }

  private func privateKey(
    _ name: String, _ isData: Bool, _ dynamic: DynamicCertificates
  ) throws(TLSConfigurationError) -> TLSPrivateKey {
    let path = isData ? TLSCertificateSource.dataName : try path(name, dynamic)
    if !isData, case .key(let known)? = dynamic.cache?.find("k" + path, now: loop.now) {
      return known
    }
    let pem = isData ? Array(name.utf8) : try read(path, "key")
    let source = TLSCertificateSource(
      certificatePEM: [], keyPEM: pem, certificatePath: "", keyPath: path,
      passwords: dynamic.passwords)
    let key = try TLSPrivateKey(source: source, library: core.tlsLibrary)
    if !isData { dynamic.cache?.keep(.key(key), "k" + path, now: loop.now) }
    return key
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

  private func read(_ path: String, _ what: String) throws(TLSConfigurationError) -> [UInt8] {
    do throws(SystemError) {
      return try ProcessFiles.read(path)
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
    exchange.enter(address, address.defaultSite)
    return exchange.load(dynamic, into: session)
  }
}

// From the `ssl_` settings of a server to what it does with TLS: reads the files that they name,
// and looks into certificates and keys for `-t`. Everything found wrong points at the word that
// names it.
//
// A certificate that can't be used is an error at the start and at `-t`. At a reload it is a
// warning: the handshakes of its site fail, and everything else is served. `-t` has OpenSSL check
// every pair (0.7 ms each); start and reload have it check those that a first look isn't sure of.

import Configuration
import HTTP

extension PlanBuilder {
  /// What the site of `draft` does with TLS; nil if it has no certificate of its own.
  func siteTLS(_ draft: SiteDraft) -> SiteTLS? {
    guard let settings = draft.site?.settings.tls else { return nil }
    if settings.value.certificates.isEmpty && !settings.value.rejectsHandshake
      && !settings.value.confCommands.contains(where: { $0.name.text == "Certificate" })
    {
      return nil
    }
    if let known = madeSites[settings.identity] { return known.tls }
    var maker = TLSPolicyBuilder(self, settings, draft.word)
    let policy = maker.make()
    maker.warnOfIdleStapling(policy)
    let made = SiteTLS(
      policy: policy, certificates: maker.certificates, ticketKeys: ticketKeys(settings, draft),
      sessions: sessionZone(
        settings.sessionCache, settings.words["ssl_session_cache"] ?? draft.word),
      dynamic: maker.dynamic, staples: maker.stapling(policy).map { ($0, staples) },
      isWatched: settings.value.isWatched, problem: maker.problem)
    madeSites[settings.identity] = (settings, made)
    return made
  }

  private func ticketKeys(_ settings: Shared<TLSSettings>, _ draft: SiteDraft) -> TLSTicketKeys {
    do throws(Refusal) {
      return try surroundings.ticketKeys.keys(for: settings, self)
    } catch {
      diagnostics.error(error.message, at: settings.ticketKeys.first ?? draft.word)
      return TLSTicketKeys()
    }
  }

  /// The zone of `ssl_session_cache`, which all sites of the plan that name it share; nil if there
  /// is none.
  private func sessionZone(_ cache: TLSSessionCache, _ word: Word) -> ZoneLease<TLSSessionZone>? {
    guard case .shared(let settings) = cache else { return nil }
    if let known = sessionZones[settings.name] {
      if known.key != settings {
        diagnostics.error("\"ssl_session_cache\" \"\(settings.name)\" is given two sizes", at: word)
      }
      return known
    }
    guard let lease = surroundings.sessionZones.lease(settings) else {
      diagnostics.error(
        "there is no memory for \"ssl_session_cache\" \"\(settings.name)\" of "
          + "\(settings.byteCount) bytes", at: word)
      return nil
    }
    sessionZones[settings.name] = lease
    return lease
  }

  /// Passwords for keys, one a line.
  func passwords(_ file: Word?) throws(Refusal) -> [[UInt8]] {
    guard let file else { return [] }
    return try read(file.text, nil).split(separator: UInt8(ascii: "\n")).map { line in
      Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
    }
  }

  /// Certificates and keys in pairs, those of `ssl_conf_command` last: they win.
  func certificateWords(
    _ certificates: [Word], _ keys: [Word], _ commands: [(name: Word, value: Word)]
  ) -> [(certificate: Word, key: Word)] {
    var pairs = Array(zip(certificates, keys))
    if let certificate = commands.last(where: { $0.name.text == "Certificate" })?.value,
      let key = commands.last(where: { $0.name.text == "PrivateKey" })?.value
    {
      pairs.append((certificate, key))
    }
    return pairs.map { (certificate: $0.0, key: $0.1) }
  }

  /// The commands that are OpenSSL's to carry out.
  func commands(_ commands: [(name: Word, value: Word)]) -> [TLSConfCommand] {
    commandWords(commands).map { TLSConfCommand(name: $0.name.text, value: $0.value.text) }
  }

  /// Where these stand.
  func commandWords(_ commands: [(name: Word, value: Word)]) -> [(name: Word, value: Word)] {
    commands.filter { $0.name.text != "Certificate" && $0.name.text != "PrivateKey" }
  }

  /// Reads a certificate and its key.
  func source(
    _ certificate: Word, _ key: Word, _ passwords: [[UInt8]]
  ) throws(TLSConfigurationError) -> TLSCertificateSource {
    let (certificatePEM, name) = try bytes(of: certificate, .certificate)
    let (keyPEM, keyName) = try bytes(of: key, .key)
    return TLSCertificateSource(
      certificatePEM: certificatePEM, keyPEM: keyPEM, certificatePath: Self.copy(name),
      keyPath: Self.copy(keyName), passwords: passwords)
  }

  private func bytes(
    of word: Word, _ subject: TLSSubject
  ) throws(TLSConfigurationError) -> (pem: [UInt8], name: String) {
    do throws(Refusal) {
      return try certificateBytes(word)
    } catch { throw TLSConfigurationError(error.message, about: subject) }
  }

  /// The same text in memory of its own. One word of the configuration's tree that a plan holds
  /// keeps a whole page of the tree: 3 KiB a certificate.
  private static func copy(_ text: String) -> String {
    String(decoding: Array(text.utf8), as: UTF8.self)
  }
}

/// Makes one policy.
struct TLSPolicyBuilder {
  private let builder: PlanBuilder
  private let settings: Shared<TLSSettings>
  private let server: Word
  /// What makes the site's certificate unusable.
  private(set) var problem: String?
  private(set) var dynamic: DynamicCertificates?
  private(set) var certificates: [TLSCertificateSource] = []

  init(_ builder: PlanBuilder, _ settings: Shared<TLSSettings>, _ server: Word) {
    self.builder = builder
    self.settings = settings
    self.server = server
  }

  /// The policy without its certificates, as far as it can be made; what is wrong is in the
  /// builder's diagnostics.
  mutating func make() -> Shared<TLSServerPolicy> {
    var policy = settingsAlone()
    check(policy)
    readCertificates(into: &policy)
    if let known = builder.tlsPolicies[policy] { return known }
    let shared = Shared(policy)
    builder.tlsPolicies[policy] = shared
    return shared
  }

  /// What the directives say that name no certificate.
  private func settingsAlone() -> TLSServerPolicy {
    var policy = TLSServerPolicy()
    policy.protocols = TLSProtocols(names: settings.protocols)
    chooseCiphers(for: &policy)
    policy.confCommands = builder.commands(settings.confCommands)
    policy.sessionTimeoutSeconds = settings.sessionTimeoutSeconds
    policy.sessionTickets = settings.usesTickets
    policy.sessionCache = settings.sessionCache
    policy.clientCAPEM = read(settings.clientCertificates)
    policy.trustedPEM = read(settings.trustedCertificates)
    policy.crlPEM = read(settings.crl)
    policy.dhparamPEM = read(settings.dhparam)
    policy.ecdhCurve = settings.curves == "auto" ? nil : settings.curves
    policy.verifyDepth = settings.verifyDepth
    policy.verifyClient = settings.verify.mode
    policy.alpn = settings.offersHTTP2 ? ["h2", "http/1.1", "http/1.0"] : ["http/1.1", "http/1.0"]
    policy.rejectHandshake = settings.rejectsHandshake
    policy.earlyData = settings.takesEarlyData
    policy.compressesCertificates = settings.compressesCertificates
    if settings.compressesCertificates && !TLSAbilities.compressesCertificates {
      builder.diagnostics.warn(
        "\"ssl_certificate_compression\" is ignored: this OpenSSL has no SSL_CTX_compress_certs, "
          + "which comes with 3.2", at: word("ssl_certificate_compression"))
    }
    policy.recordBytes = min(max(settings.bufferBytes, 512), 16 << 10)
    if settings.staples, let file = settings.stapleFile {
      do throws(Refusal) {
        policy.stapleDER = try builder.read(file.text, nil)
      } catch { builder.diagnostics.error(error.message, at: file) }
    }
    if settings.verify == .on || settings.verify == .optional,
      settings.clientCertificates == nil && settings.trustedCertificates == nil
    {
      builder.diagnostics.error(
        "\"ssl_verify_client\" needs \"ssl_client_certificate\" or \"ssl_trusted_certificate\"",
        at: word("ssl_verify_client"))
    }
    policy.clientStatus = clientStatus()
    return policy
  }

  /// `ssl_ciphers` and `ssl_prefer_server_ciphers`. Our own list comes with its order.
  private func chooseCiphers(for policy: inout TLSServerPolicy) {
    switch settings.prefersServerCiphers {
    case true?: policy.cipherOrder = .ours
    case false?: policy.cipherOrder = .theirs
    case nil: break
    }
    if let ciphers = settings.ciphers {
      policy.ciphers = ciphers
    } else if !policy.protocols.isDisjoint(with: [.tls10, .tls11]) {
      policy.ciphers = TLSServerPolicy.ciphersOfOldVersions
    } else {
      policy.cipherSuites = TLSServerPolicy.standardCipherSuites
      if settings.prefersServerCiphers == nil { policy.cipherOrder = .oursButChaCha }
    }
  }

  /// What responders are asked about clients' certificates; nil: nothing.
  private func clientStatus() -> CertificateStatusPolicy? {
    guard settings.clientStatus != .off else { return nil }
    switch settings.verify {
    case .on, .optional: break
    case .optionalNoCA:
      builder.diagnostics.error(
        "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"",
        at: word("ssl_ocsp"))
    case .off:
      if !builder.warnedOfIdleOCSP {
        builder.diagnostics.warn(
          "\"ssl_ocsp\" does nothing without \"ssl_verify_client\"", at: word("ssl_ocsp"))
      }
      builder.warnedOfIdleOCSP = true
      return nil
    }
    if let cache = settings.statusCache {
      if builder.statusCaches.contains(where: { $0.name == cache.name && $0 != cache }) {
        builder.diagnostics.error(
          "\"ssl_ocsp_cache\" \"\(cache.name)\" is given two sizes", at: word("ssl_ocsp_cache"))
      }
      builder.statusCaches.insert(cache)
    }
    return CertificateStatusPolicy(
      leafAlone: settings.clientStatus == .leaf, responder: settings.statusResponder,
      cache: settings.statusCache)
  }

  /// What responders are asked; nil if none is.
  func stapling(_ policy: Shared<TLSServerPolicy>) -> StaplingSettings? {
    guard settings.staples, settings.stapleFile == nil else { return nil }
    return StaplingSettings(
      responder: settings.stapleResponder, verifies: settings.verifiesStaples,
      trustedPEM: policy.trustedPEM)
  }

  private func read(_ file: Word?) -> [UInt8] {
    builder.pemContent(of: file)
  }

  private mutating func readCertificates(into policy: inout TLSServerPolicy) {
    let (words, keys) = (settings.certificates, settings.keys)
    if words.count != keys.count {
      builder.diagnostics.error(
        "\(words.count) \"ssl_certificate\" and \(keys.count) \"ssl_certificate_key\": "
          + "each certificate needs its key", at: words.last ?? keys.last ?? server)
    }
    var passwords: [[UInt8]] = []
    do throws(Refusal) {
      passwords = try builder.passwords(settings.passwords)
    } catch {
      report(error.message, settings.passwords ?? server)
    }
    let pairs = builder.certificateWords(words, keys, settings.confCommands)
    do throws(Refusal) {
      dynamic = try builder.dynamicCertificates(pairs, passwords, settings.certificateCache)
    } catch {
      report(error.message, words.last ?? server)
    }
    if dynamic != nil {
      policy.dynamicNames = pairs.map { "\($0.certificate.text)\n\($0.key.text)" }
      return
    }
    for (certificate, key) in pairs {
      if let source = source(certificate, key, passwords) { certificates.append(source) }
    }
  }

  /// What two words name: as the disk has it or, if that is no good and a pair is served under
  /// these names, as it is served.
  private mutating func source(
    _ certificate: Word, _ key: Word, _ passwords: [[UInt8]]
  ) -> TLSCertificateSource? {
    let now = Int64(Clock.wall / 1000)
    do throws(TLSConfigurationError) {
      let source = try builder.source(certificate, key, passwords)
      let problems = check(source, now)
      if let problem = problems.first(where: { $0.severity == .error }),
        let served = builder.keepServed(certificate, key, passwords, now: now)
      {
        warnOfServed(problem.message, problem.subject == .key ? key : certificate)
        return served
      }
      for problem in problems {
        let word = problem.subject == .key ? key : certificate
        switch problem.severity {
        case .error: report(problem.message, word)
        case .warning, .expired: builder.diagnostics.warn(problem.message, at: word)
        }
      }
      return source
    } catch {
      let word = error.subject == .key ? key : certificate
      if let served = builder.keepServed(certificate, key, passwords, now: now) {
        warnOfServed(error.message, word)
        return served
      }
      report(error.message, word)
      if error.subject != .key { reportUnreadable(key) }
      return nil
    }
  }

  private func warnOfServed(_ message: String, _ word: Word) {
    builder.diagnostics.warn(
      "\(message); the certificate that was there before stays in use", at: word)
  }

  /// The key is read behind its certificate: what is wrong with it is said all the same.
  private mutating func reportUnreadable(_ key: Word) {
    do throws(Refusal) { _ = try builder.certificateBytes(key) } catch {
      report(error.message, key)
    }
  }

  /// Warns of certificates that `ssl_stapling` can do nothing for. Workers find that out again,
  /// each when a client asks; a reload doesn't wait for it.
  func warnOfIdleStapling(_ policy: Shared<TLSServerPolicy>) {
    let surroundings = builder.surroundings
    guard surroundings.certificateChecks != .none, !surroundings.toleratesBrokenCertificates
    else { return }
    for problem in certificates.compactMap({ $0.problem(ofStaple: policy.stapleDER) }) {
      builder.diagnostics.warn(problem, at: settings.stapleFile ?? server)
    }
    guard let stapling = stapling(policy) else { return }
    for (source, word) in zip(certificates, settings.certificates) {
      do throws(OCSPQuestion.Impossible) {
        _ = try OCSPQuestion(source, stapling, library: builder.library)
      } catch {
        builder.diagnostics.warn(stapling.isIgnored(for: source, error), at: word)
      }
    }
  }

  /// What is wrong with a pair, which is looked into once.
  private func check(_ source: TLSCertificateSource, _ now: Int64) -> [TLSProblem] {
    let checks = builder.surroundings.certificateChecks
    guard checks != .none,
      builder.checkedCertificates.insert(source.certificatePath + "|" + source.keyPath).inserted,
      checks != .doubtful || !TLSFirstLook.isSound(source, now: now)
    else { return [] }
    return TLSCheck.certificate(source, now: now, library: builder.library)
  }

  /// Whether OpenSSL takes everything but the certificates; asked once for each policy.
  private func check(_ policy: TLSServerPolicy) {
    guard builder.surroundings.certificateChecks != .none, builder.tlsPolicies[policy] == nil
    else { return }
    var policy = policy
    policy.rejectHandshake = true
    guard let problem = TLSCheck.policy(policy, library: builder.library) else { return }
    builder.diagnostics.error(problem.message, at: word(of: problem.subject) ?? server)
  }

  /// Where what OpenSSL's problem is about stands. Certificates and keys are not asked about here.
  private func word(of subject: TLSSubject?) -> Word? {
    switch subject {
    case .ciphers: settings.words["ssl_ciphers"]
    case .curves: settings.words["ssl_ecdh_curve"]
    case .clientCertificate: settings.clientCertificates
    case .trustedCertificate: settings.trustedCertificates
    case .crl: settings.crl
    case .dhparam: settings.dhparam
    case .stapleFile: settings.stapleFile
    case .command(let index): builder.commandWords(settings.confCommands)[index].name
    case .certificate, .key, nil: nil
    }
  }

  /// Where `directive` stands, or the server block if it is nowhere.
  private func word(_ directive: String) -> Word { settings.words[directive] ?? server }

  private mutating func report(_ message: String, _ word: Word) {
    guard builder.surroundings.toleratesBrokenCertificates else {
      return builder.diagnostics.error(message, at: word)
    }
    problem = problem ?? message
    builder.diagnostics.warn(
      "\(message); until it is repaired TLS handshakes for this server fail", at: word)
  }
}

// The TLS side of sites: contexts made when a client first asks for them, chosen by server name.

import HTTP

/// What a site shows to TLS clients. Its context is made on the worker's own thread, on demand.
final class SiteTLS {
  private let policy: Shared<TLSServerPolicy>
  private(set) var certificates: [TLSCertificateSource]
  /// The supervisor looks whether its certificates are renewed.
  let isWatched: Bool
  private let dynamic: DynamicCertificates?
  private let staples: (settings: StaplingSettings, store: StapleStore)?
  private let ticketKeys: TLSTicketKeys
  private let sessions: ZoneLease<TLSSessionZone>?
  private var made: TLSServerContext?
  /// Why the context can't be made: said once.
  private(set) var problem: String?

  /// - Parameter policy: everything but the certificates.
  init(
    policy: Shared<TLSServerPolicy>, certificates: [TLSCertificateSource],
    ticketKeys: TLSTicketKeys, sessions: ZoneLease<TLSSessionZone>? = nil,
    dynamic: DynamicCertificates? = nil,
    staples: (settings: StaplingSettings, store: StapleStore)? = nil, isWatched: Bool = false,
    problem: String? = nil
  ) {
    self.certificates = certificates
    self.isWatched = isWatched
    self.dynamic = dynamic
    self.staples = staples
    self.policy = policy
    self.ticketKeys = ticketKeys
    self.sessions = sessions
    self.problem = problem
  }

  /// Takes a renewed pair up, if it is one of this site.
  func renew(_ renewal: CertificateRenewal) {
    for index in certificates.indices {
      let known = certificates[index]
      guard known.certificatePath == renewal.certificatePath, known.keyPath == renewal.keyPath
      else {
        continue
      }
      certificates[index].certificatePEM = renewal.certificatePEM
      certificates[index].keyPEM = renewal.keyPEM
      // Sessions that began keep the context they have; theirs aren't resumed under the new one.
      made = nil
      problem = nil
    }
  }

  var rejectsHandshake: Bool { policy.rejectHandshake }

  /// How clients are verified.
  private(set) lazy var clientTrust = policy.clientTrust

  /// The context, or nil if the certificate is broken: only this site's handshakes fail then.
  func context(_ library: TLSLibrary, _ errorLog: ErrorLog) -> TLSServerContext? {
    if let made { return made }
    if problem != nil { return nil }
    do throws(TLSConfigurationError) {
      var policy = policy.copy
      policy.certificates = certificates
      let context = try TLSServerContext(
        policy: policy, library: library, ticketKeys: ticketKeys, dynamic: dynamic,
        stapler: staples.map {
          SiteStapler($0.settings, certificates, $0.store, library, errorLog)
        }, sessions: sessions)
      made = context
      for problem in certificates.compactMap({ $0.problem(ofStaple: policy.stapleDER) }) {
        errorLog.write(.warn, problem)
      }
      return context
    } catch {
      problem = error.message
      errorLog.write(.emerg, error.message)
      return nil
    }
  }
}

/// Chooses the site's context for the server name of a handshake.
class SiteNameResolver: TLSNameResolver {
  unowned let address: AddressPlan
  private let library: TLSLibrary
  private let errorLog: ErrorLog
  private var captures = CaptureSet()

  init(_ address: AddressPlan, _ library: TLSLibrary, _ errorLog: ErrorLog) {
    self.address = address
    self.library = library
    self.errorLog = errorLog
  }

  override func context(for name: Bytes?, session: TLSSession) -> TLSNameChoice {
    var site = address.defaultSite
    if let name, let match = address.names.find(name, captures: &captures) { site = match.value }
    // A site without a certificate of its own speaks with that of the default site, as in nginx.
    guard let tls = site.tls else { return .keep }
    if tls.rejectsHandshake { return .reject }
    guard let context = tls.context(library, errorLog) else { return .fail }
    return .use(context)
  }
}

extension AddressPlan {
  /// The default site's context: what a handshake begins with.
  func tlsContext(_ library: TLSLibrary, _ errorLog: ErrorLog) -> TLSServerContext? {
    if let context = defaultSite.tls?.context(library, errorLog) { return context }
    for site in sites {
      if let context = site.tls?.context(library, errorLog) { return context }
    }
    return nil
  }

  var handshakeTimeout: Milliseconds { defaultSite.settings.headerTimeout }

  /// Whether a handshake for the name that `tls` asked for would verify the client as its own did,
  /// or not at all.
  func verifiesClients(as tls: TLSSession) -> Bool {
    var captures = CaptureSet()
    let name = tls.serverName
    let site = name.isEmpty ? nil : names.find(name, captures: &captures)?.value
    guard let wanted = (site?.tls ?? defaultSite.tls)?.clientTrust, wanted.verify != .off
    else { return true }
    return tls.serverContext?.clientTrust == wanted
  }
}

/// TLS towards the upstreams of one location.
final class UpstreamTLS {
  let options: TLSClientOptions
  /// Certificates with variables in their names.
  let dynamic: DynamicCertificates?
  private var made: TLSClientContext?
  private(set) var resumptions: [String: TLSResumption] = [:]

  init(options: TLSClientOptions, dynamic: DynamicCertificates? = nil) {
    self.options = options
    self.dynamic = dynamic
  }

  func context(_ library: TLSLibrary) throws(TLSConfigurationError) -> TLSClientContext {
    if let made { return made }
    let context = try TLSClientContext(library: library, options: options)
    made = context
    return context
  }

  func remember(_ resumption: TLSResumption, name: String) {
    // Bound: names whose sessions are kept. Any one of them makes room: who goes round more of them
    // than that still finds some.
    if resumptions.count >= 512 && resumptions[name] == nil {
      resumptions.remove(at: resumptions.startIndex)
    }
    resumptions[name] = resumption
  }
}

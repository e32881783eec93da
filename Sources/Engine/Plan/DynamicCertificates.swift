// `ssl_certificate` and `proxy_ssl_certificate` with variables: what to evaluate for each
// handshake, and the cache of what was loaded (`ssl_certificate_cache`).

import Configuration
import HTTP

/// Where a certificate or a key comes from: `data:…` is PEM itself, anything else a path.
struct CertificateLocation {
  var template: Template
  var isData: Bool
}

/// The certificates of one server, or of one location towards upstreams, named by variables.
final class DynamicCertificates: TLSDynamicCertificates {
  let pairs: [(certificate: CertificateLocation, key: CertificateLocation)]
  let passwords: [[UInt8]]
  /// What relative paths begin with.
  let folder: String
  let cache: CertificateCache?

  init(
    pairs: [(certificate: CertificateLocation, key: CertificateLocation)], passwords: [[UInt8]],
    folder: String, cache: CertificateCache?
  ) {
    self.pairs = pairs
    self.passwords = passwords
    self.folder = folder
    self.cache = cache
  }
}

/// `ssl_certificate_cache max= inactive= valid=`.
struct CertificateCacheSettings: Hashable {
  var maxEntries: Int
  var inactive: Milliseconds = 10_000
  var valid: Milliseconds = 60_000
}

/// Certificates and keys that were loaded lately, by path.
final class CertificateCache {
  private enum Object {
    case certificate(TLSCertificateFile)
    case key(TLSPrivateKey)
  }

  private struct Entry {
    var object: Object
    var loadedAt: Milliseconds
    var usedAt: Milliseconds
  }

  private let settings: CertificateCacheSettings
  private var entries: [String: Entry] = [:]

  init(_ settings: CertificateCacheSettings) { self.settings = settings }

  /// The certificate that was loaded from `path`, unless that is too long ago.
  func certificate(_ path: String, now: Milliseconds) -> TLSCertificateFile? {
    if case .certificate(let known)? = find("c" + path, now) { known } else { nil }
  }

  /// The same for a key.
  func key(_ path: String, now: Milliseconds) -> TLSPrivateKey? {
    if case .key(let known)? = find("k" + path, now) { known } else { nil }
  }

  private func find(_ path: String, _ now: Milliseconds) -> Object? {
    guard let entry = entries[path] else { return nil }
    guard now - entry.loadedAt < settings.valid, now - entry.usedAt < settings.inactive else {
      entries[path] = nil
      return nil
    }
    entries[path]?.usedAt = now
    return entry.object
  }

  /// Keeps a certificate, in place of what was not used for the longest time if there is much.
  func keep(_ certificate: TLSCertificateFile, _ path: String, now: Milliseconds) {
    keep(.certificate(certificate), "c" + path, now)
  }

  /// The same for a key.
  func keep(_ key: TLSPrivateKey, _ path: String, now: Milliseconds) {
    keep(.key(key), "k" + path, now)
  }

  private func keep(_ object: Object, _ path: String, _ now: Milliseconds) {
    if entries[path] == nil, entries.count >= settings.maxEntries,
      let oldest = entries.min(by: { $0.value.usedAt < $1.value.usedAt })
    {
      entries[oldest.key] = nil
    }
    entries[path] = Entry(object: object, loadedAt: now, usedAt: now)
  }
}

extension PlanBuilder {
  /// What `certificates` and `keys` say, if there are variables in any of them.
  func dynamicCertificates(
    _ pairs: [(certificate: Word, key: Word)], _ passwords: [[UInt8]],
    _ cache: CertificateCacheSettings?
  ) throws(Refusal) -> DynamicCertificates? {
    var locations: [(certificate: CertificateLocation, key: CertificateLocation)] = []
    var hasVariables = false
    for (certificate, key) in pairs {
      let pair = (certificate: try location(certificate), key: try location(key))
      if !pair.certificate.template.isConstant || !pair.key.template.isConstant {
        hasVariables = true
      }
      locations.append(pair)
    }
    guard hasVariables else { return nil }
    return DynamicCertificates(
      pairs: locations, passwords: passwords, folder: surroundings.paths.confFolder,
      cache: cache.map { CertificateCache($0) })
  }

  private func location(_ word: Word) throws(Refusal) -> CertificateLocation {
    for (prefix, isData) in [("data:", true), ("store:file:", false)]
    where word.text.hasPrefix(prefix) {
      let rest = String(word.text.dropFirst(prefix.count))
      return CertificateLocation(template: try template(rest, nil), isData: isData)
    }
    return CertificateLocation(template: try template(word, nil), isData: false)
  }

  /// The bytes of a certificate or key without variables, and its name for messages.
  func certificateBytes(_ word: Word) throws(Refusal) -> (pem: [UInt8], name: String) {
    guard let name = certificateFile(word) else {
      // A message must not show a key.
      return (Array(word.text.dropFirst(5).utf8), TLSCertificateSource.dataName)
    }
    return (try read(name, nil), name)
  }

  /// The file that a certificate or key is in; nil for `data:`.
  private func certificateFile(_ word: Word) -> String? {
    if word.text.hasPrefix("data:") { return nil }
    return word.text.hasPrefix("store:file:") ? String(word.text.dropFirst(11)) : word.text
  }

  /// The pair as it is served, in the place of what the disk has of it; nil unless that is sound.
  func keepServed(
    _ certificate: Word, _ key: Word, _ passwords: [[UInt8]], now: Int64
  ) -> TLSCertificateSource? {
    guard let served = surroundings.served, let name = certificateFile(certificate),
      let keyName = certificateFile(key)
    else { return nil }
    let paths = [name, keyName].map(surroundings.paths.confFile)
    guard let certificatePEM = served.served(paths[0]), let keyPEM = served.served(paths[1])
    else { return nil }
    let source = TLSCertificateSource(
      certificatePEM: certificatePEM, keyPEM: keyPEM, certificatePath: name, keyPath: keyName,
      passwords: passwords)
    let problems = TLSCheck.certificate(source, now: now, library: library)
    guard problems.allSatisfy({ $0.severity != .error }) else { return nil }
    for path in paths { keepServed(path) }
    return source
  }
}

extension Row {
  /// Refuses the sources of certificates and keys that don't exist here.
  static func checkCertificateSource(_ directive: Directive) throws(Refusal) {
    let text = directive.text(0)
    if text.hasPrefix("engine:") || (text.hasPrefix("store:") && !text.hasPrefix("store:file:")) {
      throw Refusal(
        "\"\(directive.name.text)\" takes a path, \"data:\" or \"store:file:\", not \"\(text)\"",
        argument: 0)
    }
  }

  /// A certificate or key that is shown to upstreams; `""` for none.
  static func certificate(
    _ name: String, _ contexts: Contexts, _ path: ReferenceWritableKeyPath<Scope, Word?>,
    _ summary: String
  ) -> Row {
    Row(name, contexts, 1...1, summary, standard: "—") { scope, directive throws(Refusal) in
      try checkCertificateSource(directive)
      scope[keyPath: path] = directive.text(0).isEmpty ? nil : directive.arguments[0]
    }
  }

  /// `off` or `max=N [inactive=time] [valid=time]`.
  static func certificateCache(_ directive: Directive) throws(Refusal) -> CertificateCacheSettings?
  {
    if directive.text(0) == "off" && directive.arguments.count == 1 { return nil }
    var settings = CertificateCacheSettings(maxEntries: 0)
    for index in directive.arguments.indices {
      if let value = directive.parameter("max", index) {
        settings.maxEntries = try directive.number(value, index, 1...(1 << 20))
      } else if let value = directive.parameter("inactive", index) {
        settings.inactive = try directive.longTime(value, index)
      } else if let value = directive.parameter("valid", index) {
        settings.valid = try directive.longTime(value, index)
      } else {
        throw directive.unknownParameter(index, ["max=", "inactive=", "valid=", "off"])
      }
    }
    guard settings.maxEntries > 0 else {
      throw Refusal("\"\(directive.name.text)\" needs \"max=NUMBER\"")
    }
    return settings
  }
}

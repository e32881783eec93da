// What to ask of an OCSP responder about a certificate, and how to judge what it answers (RFC
// 6960).
//
// A worker makes the question when a client first wants a stapled response, or has shown a
// certificate of its own; the control thread asks and judges. It is plain bytes, so that it can
// cross threads, and equal questions are asked once.

import COpenSSL
import HTTP

/// A question about one certificate.
struct OCSPQuestion: Sendable, Hashable {
  /// Where the responder is.
  let responder: HTTPURL
  /// What the certificate is called in messages.
  let name: String
  /// OCSPRequest, DER.
  let request: [UInt8]
  private let certificate: [UInt8]
  private let issuer: [UInt8]
  private let trust: Trust

  /// Whom the answer has to be signed by.
  private enum Trust: Hashable {
    /// Anybody whose certificate is at hand: who gets it stapled is the one to judge.
    case anybody
    /// Somebody whom these certificates vouch for, PEM (`ssl_stapling_verify`).
    case authorities([UInt8])
    /// The issuer, or whom it has certified for that (RFC 6960 §4.2.2.2).
    case issuer
  }

  /// Why there is no question to ask.
  struct Impossible: Error { let reason: String }

  /// The question about the first certificate of `source`. Its issuer is in the same file, or among
  /// `trustedPEM`.
  init(
    _ source: TLSCertificateSource, responder: HTTPURL?, trustedPEM: [UInt8], verifies: Bool,
    library: TLSLibrary
  ) throws(Impossible) {
    name = source.certificatePath
    var candidates: [TLSCertificate] = []
    let chain: TLSCertificateFile
    var trusted: TLSCertificateFile?
    do throws(TLSConfigurationError) {
      chain = try TLSCertificateFile(pem: source.certificatePEM, path: name, library: library)
      if !trustedPEM.isEmpty {
        trusted = try TLSCertificateFile(pem: trustedPEM, path: "", library: library)
      }
    } catch { throw Impossible(reason: error.message) }
    candidates += chain.certificates.dropFirst() + (trusted?.certificates ?? [])
    let leaf = chain.certificates[0]
    defer { ERR_clear_error() }
    let found = candidates.first { unsafe X509_check_issued($0.handle, leaf.handle) == X509_V_OK }
    guard let found else { throw Impossible(reason: "issuer certificate not found") }
    guard let responder = responder ?? Self.responder(of: leaf) else {
      throw Impossible(reason: "no http OCSP responder URL in the certificate")
    }
    self.responder = responder
    certificate = unsafe Self.bytes { unsafe portico_x509_der(leaf.handle, &$0) }
    issuer = unsafe Self.bytes { unsafe portico_x509_der(found.handle, &$0) }
    request = unsafe Self.bytes { unsafe portico_ocsp_request(leaf.handle, found.handle, &$0) }
    trust = verifies ? .authorities(trustedPEM) : .anybody
    if request.isEmpty { throw Impossible(reason: "the OCSP request can't be made") }
  }

  /// The question about a client's certificate, whose issuer was verified with it.
  ///
  /// - Parameter responder: whom to ask; nil: the responder that the certificate names.
  init(
    client certificate: TLSCertificate, issuer: TLSCertificate, responder: HTTPURL?
  ) throws(Impossible) {
    name = unsafe String(
      decoding: TLSPeerCertificate(certificate.handle).subject, as: UTF8.self)
    defer { ERR_clear_error() }
    guard let responder = responder ?? Self.responder(of: certificate) else {
      throw Impossible(reason: "no http OCSP responder URL in the certificate")
    }
    self.responder = responder
    self.certificate = unsafe Self.bytes { unsafe portico_x509_der(certificate.handle, &$0) }
    self.issuer = unsafe Self.bytes { unsafe portico_x509_der(issuer.handle, &$0) }
    request = unsafe Self.bytes {
      unsafe portico_ocsp_request(certificate.handle, issuer.handle, &$0)
    }
    trust = .issuer
    if request.isEmpty { throw Impossible(reason: "the OCSP request can't be made") }
  }

  /// What stands for the question where answers are kept: a hash of it.
  var digest: [UInt8] {
    MessageDigest.hash(
      certificate + issuer + Array("\(responder.authority)\(target)".utf8), .sha256)
  }

  /// The path of the GET request: the responder's own, then the request in base 64 (RFC 6960 §A.1).
  var target: String {
    var text = responder.target.hasSuffix("/") ? responder.target : responder.target + "/"
    let size = (request.count + 2) / 3 * 4
    let digits = unsafe [UInt8](unsafeUninitializedCapacity: size) { memory, count in
      let output = unsafe MutableBytes(base: memory.baseAddress!, count: size)
      count = request.withBytes { Base64.encode($0, into: output) }
    }
    for digit in digits {
      switch digit {
      case UInt8(ascii: "+"): text += "%2B"
      case UInt8(ascii: "/"): text += "%2F"
      case UInt8(ascii: "="): text += "%3D"
      default: text.unicodeScalars.append(Unicode.Scalar(digit))
      }
    }
    return text
  }

  /// The certificate that is asked about is `other`, DER.
  func isAbout(_ other: [UInt8]) -> Bool { certificate == other }

  /// Whether `response`, DER, says something about the first certificate of `pem`. Who has signed
  /// it is not asked.
  static func isAnswer(_ response: [UInt8], about pem: [UInt8]) -> Bool {
    defer { ERR_clear_error() }
    guard let input = PEMInput(pem),
      let certificate = unsafe PEM_read_bio_X509(input.bio, nil, nil, nil)
    else { return false }
    defer { unsafe X509_free(certificate) }
    return unsafe portico_ocsp_is_about(response, response.count, certificate) == 1
  }

  private static func responder(of certificate: TLSCertificate) -> HTTPURL? {
    // Bound: longer URLs aren't those of responders.
    var text = [CChar](repeating: 0, count: 1024)
    // Bound: of as many as this one may be asked; others are LDAP servers and the like.
    for index in 0..<16 {
      let length = unsafe portico_ocsp_url(certificate.handle, Int32(index), &text, text.count)
      let url = String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if let responder = HTTPURL(url) { return responder }
    }
    return nil
  }

  /// What OpenSSL writes, copied.
  static func bytes(_ write: (inout UnsafeMutablePointer<UInt8>?) -> Int32) -> [UInt8] {
    var memory: UnsafeMutablePointer<UInt8>?
    let count = unsafe write(&memory)
    defer { unsafe portico_free_bytes(memory) }
    guard count > 0, let memory = unsafe memory else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: memory, count: Int(count)))
  }
}

extension OCSPQuestion {
  /// What an answer is worth.
  enum Verdict: Equatable {
    /// Until then, in seconds since 1970; nil: it doesn't say.
    case good(until: Int?)
    case revoked(until: Int?)
    /// The responder doesn't know the certificate.
    case unknown
    /// There is no answer to the question.
    case bad(String)
  }

  /// Judges `response`, the body of the responder's answer.
  func judge(_ response: [UInt8]) -> Verdict {
    defer { ERR_clear_error() }
    let leaf = unsafe portico_x509_of(certificate, certificate.count)
    let signer = unsafe portico_x509_of(issuer, issuer.count)
    let store = unsafe X509_STORE_new()
    defer {
      unsafe X509_free(leaf)
      unsafe X509_free(signer)
      unsafe X509_STORE_free(store)
    }
    var authorities: [UInt8] = []
    if case .authorities(let pem) = trust { authorities = pem }
    if trust == .issuer {
      unsafe X509_STORE_add_cert(store, signer)
      unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
    }
    if let input = PEMInput(authorities) {
      while let trusted = unsafe PEM_read_bio_X509(input.bio, nil, nil, nil) {
        unsafe X509_STORE_add_cert(store, trusted)
        unsafe X509_free(trusted)
      }
    }
    var until: Int64 = 0
    let verdict = unsafe portico_ocsp_judge(
      response, response.count, leaf, signer, store, trust == .anybody ? 0 : 1, &until)
    let end = until == 0 ? nil : Int(until)
    switch verdict {
    case Int32(PORTICO_OCSP_GOOD): return .good(until: end)
    case Int32(PORTICO_OCSP_REVOKED): return .revoked(until: end)
    case Int32(PORTICO_OCSP_MALFORMED): return .bad("the answer is no OCSP response")
    case Int32(PORTICO_OCSP_UNVERIFIED):
      return .bad("the response is not signed as it must be")
    case Int32(PORTICO_OCSP_OTHER): return .bad("the response is about another certificate")
    case Int32(PORTICO_OCSP_OUT_OF_DATE): return .bad("the response is out of date")
    case Int32(PORTICO_OCSP_UNKNOWN): return .unknown
    default: return .bad(Self.refusal(verdict - Int32(PORTICO_OCSP_REFUSED)))
    }
  }

  /// What an OCSPResponseStatus says (RFC 6960 §4.2.1).
  private static func refusal(_ status: Int32) -> String {
    let word =
      switch status {
      case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST: "malformedRequest"
      case OCSP_RESPONSE_STATUS_INTERNALERROR: "internalError"
      case OCSP_RESPONSE_STATUS_TRYLATER: "tryLater"
      case OCSP_RESPONSE_STATUS_SIGREQUIRED: "sigRequired"
      case OCSP_RESPONSE_STATUS_UNAUTHORIZED: "unauthorized"
      default: "status"
      }
    return "the responder refused the request: \(word) (\(status))"
  }
}

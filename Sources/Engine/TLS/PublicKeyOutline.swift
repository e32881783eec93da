// A public key as a certificate has it (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7), and whether a
// private key is the one to it: RSA (RFC 8017 §A.1.2) and the NIST curves (RFC 5915), bare or in
// PKCS #8 (RFC 5958).
//
// As OpenSSL's X509_check_private_key, only public parts are compared: a private key file carries
// them.

import HTTP

/// The public key of a certificate; its bytes are somebody else's.
struct PublicKeyOutline {
  private enum Kind {
    case rsa
    /// On a curve whose coordinates have so many bytes.
    case curve(byteCount: Int)
  }

  private let kind: Kind
  /// The content of AlgorithmIdentifier: for curves their name is in it.
  private let algorithm: Bytes
  private let parameters: Bytes
  private let bits: Bytes

  // 1.2.840.113549.1.1.1, 1.2.840.10045.2.1
  private static let rsa: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]
  private static let curve: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]
  // P-256, P-384 and P-521, as whole values.
  private static let curves: [(name: [UInt8], byteCount: Int)] = [
    ([0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07], 32),
    ([0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22], 48),
    ([0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23], 66),
  ]

  /// Reads the content of a SubjectPublicKeyInfo; nil for kinds that aren't known here.
  init?(_ content: Bytes) {
    var reader = DERReader(content)
    guard let algorithm = reader.next(DERTag.sequence), let bits = reader.bits(), reader.isAtEnd
    else { return nil }
    var names = DERReader(algorithm)
    guard let name = names.next(DERTag.objectIdentifier), let parameters = names.next(),
      names.isAtEnd
    else { return nil }
    self.algorithm = algorithm
    self.parameters = parameters.whole
    self.bits = bits
    if Self.rsa.withBytes({ $0 == name }) {
      kind = .rsa
    } else if Self.curve.withBytes({ $0 == name }),
      let curve = Self.curves.first(where: { $0.name.withBytes { $0 == parameters.whole } }),
      bits.count == 1 + 2 * curve.byteCount, bits[0] == 4
    {
      kind = .curve(byteCount: curve.byteCount)
    } else {
      return nil
    }
  }

  /// Whether clients take keys of this size: 112 bits of security, which RSA has from 2048 bits on.
  var isStrong: Bool {
    guard case .rsa = kind else { return true }
    guard let (modulus, _) = Self.numbers(bits) else { return false }
    return modulus.count > 256 || modulus.count == 256 && modulus[0] & 0x80 != 0
  }

  /// Whether the private key `der` is certainly the one to this key.
  func belongs(to der: Bytes, _ label: PEMBlock.Label) -> Bool {
    var file = DERReader(der)
    guard der.isWellFormedDER, var reader = file.enter(), file.isAtEnd else { return false }
    guard label == .privateKey else { return belongs(toInner: reader, label) }
    guard reader.next(DERTag.integer) == Bytes("\0"), reader.next(DERTag.sequence) == algorithm,
      let inner = reader.next(DERTag.octetString), inner.isWellFormedDER
    else { return false }
    var content = DERReader(inner)
    guard let key = content.enter(), content.isAtEnd else { return false }
    if case .rsa = kind { return belongs(toInner: key, .rsaPrivateKey) }
    return belongs(toInner: key, .ecPrivateKey)
  }

  private func belongs(toInner key: DERReader, _ label: PEMBlock.Label) -> Bool {
    switch (kind, label) {
    case (.rsa, .rsaPrivateKey): isPublicPart(ofRSA: key)
    case (.curve(let byteCount), .ecPrivateKey): isPublicPart(ofCurve: key, byteCount)
    default: false
    }
  }

  /// RSAPrivateKey ::= SEQUENCE { version 0, modulus, publicExponent, six numbers }
  private func isPublicPart(ofRSA key: DERReader) -> Bool {
    var key = key
    guard let (modulus, exponent) = Self.numbers(bits), key.next(DERTag.integer) == Bytes("\0"),
      key.next(DERTag.integer).map(Self.withoutSign) == modulus,
      key.next(DERTag.integer).map(Self.withoutSign) == exponent
    else { return false }
    for _ in 0..<6 where key.next(DERTag.integer) == nil { return false }
    return key.isAtEnd
  }

  /// ECPrivateKey ::= SEQUENCE { version 1, privateKey, [0] parameters, [1] publicKey }
  private func isPublicPart(ofCurve key: DERReader, _ byteCount: Int) -> Bool {
    var key = key
    guard key.next(DERTag.integer) == Bytes("\u{1}"),
      key.next(DERTag.octetString)?.count == byteCount
    else { return false }
    if let named = key.next(DERTag.constructed(0)), named != parameters { return false }
    guard var point = key.enter(DERTag.constructed(1)) else { return false }
    return point.bits() == bits && point.isAtEnd && key.isAtEnd
  }

  /// The modulus and the exponent of RSAPublicKey.
  private static func numbers(_ bits: Bytes) -> (modulus: Bytes, exponent: Bytes)? {
    var reader = DERReader(bits)
    guard var inner = reader.enter(), reader.isAtEnd, let modulus = inner.next(DERTag.integer),
      let exponent = inner.next(DERTag.integer), inner.isAtEnd
    else { return nil }
    return (withoutSign(modulus), withoutSign(exponent))
  }

  /// A positive number without the zero in front that says that it is one.
  private static func withoutSign(_ number: Bytes) -> Bytes {
    number.count > 1 && number[0] == 0 ? number.dropping(1) : number
  }
}

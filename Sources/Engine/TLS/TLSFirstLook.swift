// A first look at a certificate and its key, in microseconds: is this pair certainly sound?
//
// OpenSSL 3.0 takes 0.7 ms to parse and check a pair, which is 7 s for 10,000 sites at each start
// and reload. Most pairs are of a few plain forms, and for those the same questions are answered by
// their bytes alone: PEM, base 64, DER, dates, the public part of the key, the order of the chain.
// Whoever isn't certainly sound, for whatever reason, is for OpenSSL to judge and to explain:
// nothing is refused here. Signatures are looked at neither here nor by OpenSSL when it loads a
// certificate.
//
//   PEM ─► DER ─► X509Outline (names, dates, key) ─┬─► now is between its dates
//                                                 ├─► issued by the next of the file
//   PEM ─► DER ─► PublicKeyOutline ───────────────┴─► the first one's key

import HTTP

/// The first look.
enum TLSFirstLook {
  /// Whether `TLSCheck.certificate` would find nothing to say of `source` at `now` (seconds since
  /// 1970). False means that this look can't tell.
  static func isSound(_ source: TLSCertificateSource, now: Int64) -> Bool {
    guard let chain = certificates(source.certificatePEM), let key = privateKey(source.keyPEM)
    else {
      return false
    }
    return isSound(chain[...], key, now)
  }

  /// Goes down the chain; `key` is the first one's private key. The bytes of an outline live as
  /// long as the closure that is given them.
  private static func isSound(_ chain: ArraySlice<[UInt8]>, _ key: PEMBlock, _ now: Int64) -> Bool {
    guard let first = chain.first else { return false }
    return first.withBytes { bytes in
      guard let certificate = X509Outline(bytes), certificate.isValid(at: now),
        certificate.publicKey.isStrong,
        key.der.withBytes({ certificate.publicKey.belongs(to: $0, key.label) })
      else { return false }
      return isIssued(certificate, by: chain.dropFirst(), now)
    }
  }

  /// Whether each certificate of `chain` is valid and issued the one before.
  private static func isIssued(
    _ certificate: X509Outline, by chain: ArraySlice<[UInt8]>, _ now: Int64
  ) -> Bool {
    guard let next = chain.first else { return true }
    return next.withBytes { bytes in
      guard let issuer = X509Outline(bytes), issuer.isValid(at: now),
        certificate.isIssued(by: issuer)
      else { return false }
      return isIssued(issuer, by: chain.dropFirst(), now)
    }
  }

  /// The certificates of a file, in DER.
  private static func certificates(_ pem: [UInt8]) -> [[UInt8]]? {
    pem.withBytes { bytes in
      var reader = PEMReader(bytes)
      var found: [[UInt8]] = []
      while let block = reader.next() {
        if block.label == .certificate { found.append(block.der) }
        // Bound: longer chains don't exist, and each is looked at one level of recursion deeper.
        if found.count > 16 { return nil }
      }
      return reader.isRefused ? nil : found
    }
  }

  /// The first key of a file.
  private static func privateKey(_ pem: [UInt8]) -> PEMBlock? {
    pem.withBytes { bytes in
      var reader = PEMReader(bytes)
      while let block = reader.next() {
        switch block.label {
        case .certificate, .ecParameters: continue
        case .privateKey, .rsaPrivateKey, .ecPrivateKey: return block
        }
      }
      return nil
    }
  }
}

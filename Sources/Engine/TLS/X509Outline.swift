// The outline of a certificate (RFC 5280 §4.1): who issued it to whom, from when to when, for which
// key.
//
//   Certificate ::= SEQUENCE { SEQUENCE { version [0], serial, algorithm, issuer, validity,
//   subject,
//                                         subjectPublicKeyInfo, [1] [2], extensions [3] },
//                              algorithm, signature BIT STRING }
//
// Only for `TLSFirstLook`: what is read here decides nothing but whether OpenSSL is asked at once.

import HTTP

/// What matters of a certificate; its bytes are somebody else's.
struct X509Outline {
  private let issuer: Bytes
  private let subject: Bytes
  private let notBefore: Int
  private let notAfter: Int
  let publicKey: PublicKeyOutline
  private var extensions = Extensions()

  /// The extensions that say who issued what.
  private struct Extensions {
    var subjectKeyIdentifier: Bytes?
    var authorityKeyIdentifier: Bytes?
    /// `keyUsage` is absent, or allows signing certificates.
    var signsCertificates = true
  }

  /// Reads one certificate; nil for anything that isn't DER of the usual form.
  init?(_ der: Bytes) {
    var file = DERReader(der)
    guard der.isWellFormedDER, var outer = file.enter(), file.isAtEnd, var body = outer.enter(),
      let algorithm = outer.next(DERTag.sequence), outer.bits() != nil, outer.isAtEnd
    else { return nil }
    // Version 3 says so; the others have neither extensions nor a place on the web.
    guard var version = body.enter(DERTag.constructed(0)),
      version.next(DERTag.integer) == Bytes("\u{2}"),
      body.next(DERTag.integer) != nil, body.next(DERTag.sequence) == algorithm,
      let issuer = Self.name(&body), var validity = body.enter(),
      let notBefore = Self.time(&validity), let notAfter = Self.time(&validity), validity.isAtEnd,
      let subject = Self.name(&body),
      let publicKey = body.next(DERTag.sequence).flatMap(PublicKeyOutline.init)
    else { return nil }
    self.issuer = issuer
    self.subject = subject
    self.notBefore = notBefore
    self.notAfter = notAfter
    self.publicKey = publicKey
    _ = body.next(DERTag.primitive(1))
    _ = body.next(DERTag.primitive(2))
    if var list = body.enter(DERTag.constructed(3)) {
      guard var entries = list.enter(), list.isAtEnd else { return nil }
      while let entry = entries.next() {
        guard entry.tag == DERTag.sequence, readExtension(entry.content) else { return nil }
      }
      guard entries.isAtEnd else { return nil }
    }
    guard body.isAtEnd else { return nil }
  }

  func isValid(at now: Int64) -> Bool { notBefore <= now && notAfter >= now }

  /// Whether `other` is certainly the issuer, as X509_check_issued sees it.
  func isIssued(by other: X509Outline) -> Bool {
    guard issuer == other.subject, other.extensions.signsCertificates else { return false }
    guard let wanted = extensions.authorityKeyIdentifier else { return true }
    return other.extensions.subjectKeyIdentifier.map { $0 == wanted } ?? true
  }

  /// Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value }
  private static func name(_ reader: inout DERReader) -> Bytes? {
    guard let content = reader.next(DERTag.sequence) else { return nil }
    var parts = DERReader(content)
    while !parts.isAtEnd {
      guard var attributes = parts.enter(DERTag.set) else { return nil }
      while !attributes.isAtEnd {
        guard var attribute = attributes.enter(), attribute.next(DERTag.objectIdentifier) != nil,
          let value = attribute.next(), Self.isText(value.tag), attribute.isAtEnd
        else { return nil }
      }
    }
    return content
  }

  /// The kinds of text that names are made of: UTF8String, PrintableString, TeletexString,
  /// IA5String, UniversalString and BMPString.
  private static func isText(_ tag: UInt8) -> Bool {
    [DERTag.utf8String, 0x13, 0x14, 0x16, 0x1C, 0x1E].contains(tag)
  }

  /// Reads a time (RFC 5280 §4.1.2.5) as seconds since 1970.
  private static func time(_ reader: inout DERReader) -> Int? {
    guard let value = reader.next() else { return nil }
    let hasCentury = value.tag == DERTag.generalizedTime
    guard hasCentury || value.tag == DERTag.utcTime else { return nil }
    return seconds(value.content, hasCentury: hasCentury)
  }

  private static func seconds(_ text: Bytes, hasCentury: Bool) -> Int? {
    let yearDigits = hasCentury ? 4 : 2
    guard text.count == yearDigits + 11, text[text.count - 1] == UInt8(ascii: "Z") else {
      return nil
    }
    for index in 0..<(text.count - 1) where !ASCII.isDigit(text[index]) { return nil }
    func number(_ start: Int, _ count: Int = 2) -> Int {
      (start..<(start + count)).reduce(0) { $0 * 10 + Int(text[$1] - 0x30) }
    }
    var year = number(0, yearDigits)
    if !hasCentury { year += year < 50 ? 2000 : 1900 }
    let (hour, minute, second) = (
      number(yearDigits + 4), number(yearDigits + 6), number(yearDigits + 8)
    )
    guard hour < 24, minute < 60, second < 60,
      let days = CivilTime.days(year: year, month: number(yearDigits), day: number(yearDigits + 2))
    else { return nil }
    return days * 86_400 + hour * 3600 + minute * 60 + second
  }

  /// Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
  private mutating func readExtension(_ content: Bytes) -> Bool {
    var reader = DERReader(content)
    guard let identifier = reader.next(DERTag.objectIdentifier) else { return false }
    _ = reader.next(DERTag.boolean)
    guard let value = reader.next(DERTag.octetString), reader.isAtEnd, value.isWellFormedDER else {
      return false
    }
    // 2.5.29.…
    guard identifier.count == 3, identifier[0] == 0x55, identifier[1] == 0x1D else { return true }
    var inner = DERReader(value)
    switch identifier[2] {
    case 14:
      extensions.subjectKeyIdentifier = inner.next(DERTag.octetString)
      return extensions.subjectKeyIdentifier != nil && inner.isAtEnd
    case 15:
      // Bit 5, from the left: keyCertSign.
      guard let bits = inner.next(DERTag.bitString), bits.count >= 2 else { return false }
      extensions.signsCertificates = bits[1] & 0x04 != 0
      return inner.isAtEnd
    case 19:
      // BasicConstraints ::= SEQUENCE { cA BOOLEAN, pathLenConstraint INTEGER }
      guard var constraints = inner.enter(), inner.isAtEnd else { return false }
      _ = constraints.next(DERTag.boolean)
      _ = constraints.next(DERTag.integer)
      return constraints.isAtEnd
    case 35:
      // [0] keyIdentifier alone; issuers named by serial number are for OpenSSL to find.
      guard var names = inner.enter(), inner.isAtEnd else { return false }
      extensions.authorityKeyIdentifier = names.next(DERTag.primitive(0))
      return names.isAtEnd
    default:
      return true
    }
  }
}

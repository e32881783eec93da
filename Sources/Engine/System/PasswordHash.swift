// Passwords as htpasswd files store them
// (https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html#auth_basic_user_file):
//
//   {PLAIN}password   {SHA}base64(SHA-1)   {SSHA}base64(SHA-1, salt)
//   $apr1$salt$hash   Apache's MD5, 1,000 rounds
//   anything else     crypt(3): bcrypt, SHA-512, yescrypt, …
//
// The first three cost a microsecond. The others are made to cost: 0.5 ms for MD5, 2 ms for
// SHA-512, 50 ms and more for bcrypt and yescrypt. No worker thread checks those (`PasswordThread`
// does).

import CCrypt
import COpenSSL
import HTTP

/// Stored passwords.
enum PasswordHash {
  /// Whether checking takes no time to speak of.
  static func isCheap(_ stored: Bytes) -> Bool {
    stored.hasPrefix(Bytes("{PLAIN}")) || stored.hasPrefix(Bytes("{SHA}"))
      || stored.hasPrefix(Bytes("{SSHA}"))
  }

  /// Whether `password` is the one that `stored` was made of. How long it takes says nothing of how
  /// much of it is right.
  static func matches(_ password: Bytes, _ stored: Bytes) -> Bool {
    if stored.hasPrefix(Bytes("{PLAIN}")) { return isSame(password, stored.dropping(7)) }
    if stored.hasPrefix(Bytes("{SHA}")) {
      return matchesSHA(password, stored.dropping(5), salted: false)
    }
    if stored.hasPrefix(Bytes("{SSHA}")) {
      return matchesSHA(password, stored.dropping(6), salted: true)
    }
    if stored.hasPrefix(Bytes("$apr1$")) { return matchesApache(password, stored) }
    return matchesCrypt(password, stored)
  }

  /// Compares without telling by its time where two byte strings differ.
  static func isSame(_ one: Bytes, _ other: Bytes) -> Bool {
    guard one.count == other.count else { return false }
    var difference: UInt8 = 0
    for index in 0..<one.count { difference |= one[index] ^ other[index] }
    return difference == 0
  }

  /// The same of a digest, which is like nothing if it is empty: it could not be made.
  static func isSame(_ digest: [UInt8], _ other: Bytes) -> Bool {
    unsafe digest.withUnsafeBufferPointer { one in
      guard let base = one.baseAddress, !one.isEmpty else { return false }
      return isSame(unsafe Bytes(base: base, count: one.count), other)
    }
  }

  // Bound: what of {SSHA} is salt. Tools write 4 to 16 bytes.
  private static let longestSalt = 64

  private static func matchesSHA(_ password: Bytes, _ encoded: Bytes, salted: Bool) -> Bool {
    guard encoded.count <= (20 + longestSalt) * 4 / 3 + 4 else { return false }
    return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128) { room in
      guard let base = room.baseAddress else { return false }
      let decoded = unsafe MutableBytes(base: base, count: 128)
      guard let count = Base64.decode(encoded, into: decoded), salted ? count >= 20 : count == 20
      else { return false }
      let bytes = decoded.readOnly.prefix(count)
      let hash = MessageDigest.hash([password, bytes.dropping(20)], .sha1)
      return isSame(hash, bytes.prefix(20))
    }
  }

  private static func matchesCrypt(_ password: Bytes, _ stored: Bytes) -> Bool {
    // C strings end at a NUL: a password with one has no hash.
    guard !stored.isEmpty, password.firstIndex(of: 0) == nil, stored.firstIndex(of: 0) == nil else {
      return false
    }
    let (phrase, setting) = (password.array + [0], stored.array + [0])
    return unsafe phrase.withUnsafeBufferPointer { phrase in
      unsafe setting.withUnsafeBufferPointer { setting in
        unsafe portico_crypt_matches(
          UnsafeRawPointer(phrase.baseAddress!).assumingMemoryBound(to: CChar.self),
          UnsafeRawPointer(setting.baseAddress!).assumingMemoryBound(to: CChar.self)) != 0
      }
    }
  }

  // --- Apache's MD5 ------------------------------------------------------------------------------

  private static func matchesApache(_ password: Bytes, _ stored: Bytes) -> Bool {
    let rest = stored.dropping(6)
    guard let end = rest.firstIndex(of: UInt8(ascii: "$")), end + 1 < rest.count else {
      return false
    }
    let salt = rest.prefix(min(end, 8))
    return isSame(apacheHash(password.array, salt.array), rest.dropping(end + 1))
  }

  /// The 22 characters behind the salt, by the algorithm of apr_md5_encode.
  private static func apacheHash(_ password: [UInt8], _ salt: [UInt8]) -> [UInt8] {
    let inner = MessageDigest.hash(password + salt + password, .md5)
    guard inner.count == 16 else { return [] }
    var text = password + Array("$apr1$".utf8) + salt
    var rest = password.count
    while rest > 0 {
      text += inner.prefix(min(16, rest))
      rest -= 16
    }
    var bits = password.count
    while bits > 0 {
      text.append(bits & 1 == 1 ? 0 : password[0])
      bits >>= 1
    }
    var hash = MessageDigest.hash(text, .md5)
    for round in 0..<1000 {
      text.removeAll(keepingCapacity: true)
      text += round & 1 == 1 ? password : hash
      if round % 3 != 0 { text += salt }
      if round % 7 != 0 { text += password }
      text += round & 1 == 1 ? hash : password
      hash = MessageDigest.hash(text, .md5)
      guard hash.count == 16 else { return [] }
    }
    return apacheText(hash)
  }

  private static func apacheText(_ hash: [UInt8]) -> [UInt8] {
    let digits = Array("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    var text: [UInt8] = []
    func append(_ value: Int, _ count: Int) {
      var value = value
      for _ in 0..<count {
        text.append(digits[value & 63])
        value >>= 6
      }
    }
    for (one, two, three) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
      append(Int(hash[one]) << 16 | Int(hash[two]) << 8 | Int(hash[three]), 4)
    }
    append(Int(hash[11]), 2)
    return text
  }
}

/// Digests by OpenSSL.
enum MessageDigest {
  case md5, sha1, sha256

  private var kind: OpaquePointer? {
    switch self {
    case .md5: unsafe EVP_md5()
    case .sha1: unsafe EVP_sha1()
    case .sha256: unsafe EVP_sha256()
    }
  }

  /// The digest of `pieces` in order; empty if OpenSSL doesn't have it (MD5 where FIPS rules).
  static func hash(_ pieces: [Bytes], _ kind: MessageDigest) -> [UInt8] {
    hash(pieces.flatMap(\.array), kind)
  }

  /// 16 bytes that stand for `bytes`: their MD5, or what FIPS has in its place.
  static func fingerprint(_ bytes: [UInt8]) -> [UInt8] {
    let digest = hash(bytes, .md5)
    return digest.isEmpty ? Array(hash(bytes, .sha256).prefix(16)) : digest
  }

  /// The digest of `bytes`.
  static func hash(_ bytes: [UInt8], _ kind: MessageDigest) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 64)
    var count: UInt32 = 0
    let isDone = unsafe EVP_Digest(bytes, bytes.count, &digest, &count, kind.kind, nil) == 1
    return isDone ? Array(digest.prefix(Int(count))) : []
  }
}

// What names a response in a cache: the MD5 of its key, as nginx names its files, and the file's
// path made of nothing but the digits of that: whatever a client puts into a key, it chooses no
// path.

import HTTP

/// The digest of a key. Two keys may share one: whoever reads a file compares the whole key.
struct CacheKey: Hashable, BitwiseCopyable, Sendable {
  let high: UInt64
  let low: UInt64

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The digest of `pieces` in order.
  init(of pieces: [Bytes]) {
    let digest = MessageDigest.fingerprint(pieces.flatMap(\.array))
    var words: (UInt64, UInt64) = (0, 0)
    for index in 0..<8 {
      words.0 = words.0 << 8 | UInt64(digest[index])
      words.1 = words.1 << 8 | UInt64(digest[index + 8])
    }
    self.init(high: words.0, low: words.1)
  }

  /// What stands for a variant of this digest: no key has it for a digest, whatever bytes it is
  /// made of, unless somebody finds MD5's inverse.
  var ofVariant: CacheKey { CacheKey(high: ~high, low: ~low) }

  /// The key that a file of this name holds: 32 digits, lower case; nil if it isn't such a name.
  init?(fileName: String) {
    guard fileName.utf8.count == 32,
      fileName.utf8.allSatisfy({ ASCII.isDigit($0) || (0x61...0x66).contains($0) }),
      let high = UInt64(fileName.prefix(16), radix: 16),
      let low = UInt64(fileName.suffix(16), radix: 16)
    else { return nil }
    self.init(high: high, low: low)
  }

  /// 32 digits, lower case.
  var fileName: String { Self.digits(high) + Self.digits(low) }

  private static func digits(_ word: UInt64) -> String {
    let text = String(word, radix: 16)
    return String(repeating: "0", count: 16 - text.utf8.count) + text
  }

  /// A digest is as random as a hash can be.
  func hash(into hasher: inout Hasher) { hasher.combine(low) }
}

/// Where the files of a cache lie.
struct CacheFolder: Hashable, Sendable {
  /// Absolute, without a slash at its end.
  let path: String
  /// How many digits name a folder, from the end of the name (`levels=1:2`).
  let levels: [Int]

  /// The folder of `key`, then the path of its file.
  func paths(of key: CacheKey) -> (folder: String, file: String) {
    let name = key.fileName
    var folder = path
    var rest = Substring(name)
    for level in levels {
      folder += "/" + rest.suffix(level)
      rest = rest.dropLast(level)
    }
    return (folder, folder + "/" + name)
  }

  func file(of key: CacheKey) -> String { paths(of: key).file }
}

// Which credentials of a worker's clients were found right, and which are being checked.
//
// A browser sends its password with each request. What `PasswordThread` found right once is remembered by
// a digest of user, password and stored hash, under a key of this worker: a stored hash that changes
// makes another digest. What is wrong is never remembered, so that guessing costs the guesser.

import HTTP

/// A keyed digest of a user, a password and the stored hash of it.
struct CredentialDigest: Hashable, BitwiseCopyable, Sendable {
  let high: UInt64
  let low: UInt64
}

/// The password checks of one worker.
struct PasswordChecks {
  // Bound: digests that are remembered, 16 KiB. Sets of four; the oldest of a set gives way.
  private static let setCount = 256
  private static let setSize = 4
  // Bound: different credentials of this worker that wait for the thread. At 60 ms each the last one
  // waits for 8 s; more are answered 503.
  private static let pendingLimit = 128

  private let key: [UInt8]
  private var verified: [CredentialDigest?] = []
  private var positions: [UInt8] = []
  private var pending: [CredentialDigest: [Handle]] = [:]

  init() {
    var generator = SystemRandomNumberGenerator()
    key = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
  }

  /// The digest of what a client says and of what the file says.
  func digest(_ user: Bytes, _ password: Bytes, _ stored: ArraySlice<UInt8>) -> CredentialDigest? {
    var text = key
    // Lengths in front, so that nothing can be moved from one part to another.
    for count in [user.count, password.count] {
      for shift in stride(from: 0, to: 32, by: 8) {
        text.append(UInt8(truncatingIfNeeded: count >> shift))
      }
    }
    text += user.array + password.array + stored
    let hash = MessageDigest.hash(text, .sha256)
    guard hash.count == 32 else { return nil }
    func word(_ start: Int) -> UInt64 {
      hash[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
    return CredentialDigest(high: word(0), low: word(8))
  }

  /// Whether these credentials were found right.
  func isVerified(_ digest: CredentialDigest) -> Bool {
    guard !verified.isEmpty else { return false }
    let start = Self.set(of: digest) * Self.setSize
    return verified[start..<start + Self.setSize].contains(digest)
  }

  private static func set(of digest: CredentialDigest) -> Int { Int(digest.low % UInt64(setCount)) }

  /// What becomes of an exchange that needs credentials checked.
  enum Admission { case asks, joins, isTooMany }

  /// Lets `exchange` wait for the outcome; `asks`: the thread is to be told.
  mutating func wait(_ exchange: Handle, for digest: CredentialDigest) -> Admission {
    if pending[digest] != nil {
      pending[digest]?.append(exchange)
      return .joins
    }
    guard pending.count < Self.pendingLimit else { return .isTooMany }
    pending[digest] = [exchange]
    return .asks
  }

  /// Takes the outcome; gives who waited for it.
  mutating func conclude(_ digest: CredentialDigest, isRight: Bool) -> [Handle] {
    if isRight && !isVerified(digest) {
      if verified.isEmpty {
        verified = .init(repeating: nil, count: Self.setCount * Self.setSize)
        positions = .init(repeating: 0, count: Self.setCount)
      }
      let set = Self.set(of: digest)
      verified[set * Self.setSize + Int(positions[set])] = digest
      positions[set] = (positions[set] + 1) % UInt8(Self.setSize)
    }
    return pending.removeValue(forKey: digest) ?? []
  }
}

/// Credentials on their way to the thread that checks them.
struct PasswordJob: Sendable {
  let password: [UInt8]
  let stored: [UInt8]
  let digest: CredentialDigest
  let worker: Int
}

// Which credentials of a worker's clients were found right, and which are being checked.
//
// A browser sends its password with each request. What `PasswordThread` found right once is
// remembered by a digest of user, password and stored hash, under a key of this worker: a stored
// hash that changes makes another digest. What is wrong is never remembered, so that guessing costs
// the guesser.
//
//   client A:  job (at the thread) ◄─ job ◄─ job        client B:  job (at the thread)
//
// Each client address has one job at the thread, and its others wait in a line of their own: who
// guesses keeps nobody else waiting for more than one hash of each worker. A job that all who asked
// have left is taken out of its line, or withdrawn from the thread.

import HTTP
import Synchronization

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
  // Bound: client addresses of this worker with credentials at the thread. At 60 ms each the last
  // one waits for 8 s; more are answered 503.
  static let lineLimit = 128
  // Bound: different credentials of one client address, and of one user among them; more are
  // answered 503.
  static let lineLength = 32
  // Many people may share an address (a load balancer's, an office's) and come at once after a
  // restart: this is the bound while few wait in all.
  static let lineLengthOfFew = 256
  // Bound: credentials that still count as few.
  static let few = 512

  /// Credentials that are being checked, or are to be.
  private struct Pending {
    let job: PasswordJob
    let client: IPAddress?
    var exchanges: [Handle]
  }

  private let key: [UInt8]
  private var verified: [CredentialDigest?] = []
  private var positions: [UInt8] = []
  private var pending: [CredentialDigest: Pending] = [:]
  /// What the clients of each address wait for; the first is at the thread.
  private var lines: [IPAddress?: [CredentialDigest]] = [:]
  /// What exchanges wait for, by the bits of their handles.
  private var awaited: [UInt64: CredentialDigest] = [:]

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
  enum Admission { case asks, waits, isTooMany }

  /// Lets `exchange` of a client at `address` wait for the outcome; `asks`: the thread is to be
  /// told.
  mutating func wait(_ exchange: Handle, at address: IPAddress?, for job: PasswordJob) -> Admission
  {
    if pending[job.digest] == nil {
      let client = address.map(Self.client)
      let line = lines[client] ?? []
      let count = line.count
      guard count > 0 || lines.count < Self.lineLimit, hasRoom(for: job, behind: line) else {
        return .isTooMany
      }
      lines[client, default: []].append(job.digest)
      pending[job.digest] = Pending(job: job, client: client, exchanges: [exchange])
      awaited[exchange.raw] = job.digest
      return count == 0 ? .asks : .waits
    }
    pending[job.digest]?.exchanges.append(exchange)
    awaited[exchange.raw] = job.digest
    return .waits
  }

  /// Whether the line of an address may be that much longer.
  private func hasRoom(for job: PasswordJob, behind line: [CredentialDigest]) -> Bool {
    if line.count < Self.lineLength { return true }
    guard line.count < Self.lineLengthOfFew, pending.count < Self.few else { return false }
    // Each user has a stored hash of its own. Several passwords of one are guesses.
    let guesses = line.count { pending[$0]?.job.stored == job.stored }
    return guesses < Self.lineLength
  }

  /// Whose address it is: somebody who has one IPv6 address has the 64 bits behind it as well. IPv4
  /// addresses of a socket for both kinds (RFC 4291 §2.5.5.2) have nothing before them.
  private static func client(_ address: IPAddress) -> IPAddress {
    address.high == 0 ? address : IPAddress(high: address.high, low: 0)
  }

  /// Forgets an exchange that doesn't wait any more; gives the job that the thread is to be told
  /// then.
  mutating func leave(_ exchange: Handle) -> PasswordJob? {
    guard let digest = awaited.removeValue(forKey: exchange.raw) else { return nil }
    if let index = pending[digest]?.exchanges.firstIndex(of: exchange) {
      pending[digest]?.exchanges.remove(at: index)
    }
    return pending[digest]?.exchanges.isEmpty == true ? remove(digest).next : nil
  }

  /// Takes the outcome; gives who waited for it, and the job that the thread is to be told.
  mutating func conclude(
    _ digest: CredentialDigest, isRight: Bool
  ) -> (exchanges: [Handle], next: PasswordJob?) {
    if isRight { remember(digest) }
    let (exchanges, next) = remove(digest)
    for exchange in exchanges where awaited[exchange.raw] == digest { awaited[exchange.raw] = nil }
    return (exchanges, next)
  }

  /// Ends what is pending, and lets the next in its line follow if it was the first.
  private mutating func remove(
    _ digest: CredentialDigest
  ) -> (exchanges: [Handle], next: PasswordJob?) {
    guard let ended = pending.removeValue(forKey: digest) else { return ([], nil) }
    ended.job.withdraw()
    guard let position = lines[ended.client]?.firstIndex(of: digest) else { return ([], nil) }
    lines[ended.client]?.remove(at: position)
    guard let next = lines[ended.client]?.first else {
      lines[ended.client] = nil
      return (ended.exchanges, nil)
    }
    return (ended.exchanges, position == 0 ? pending[next]?.job : nil)
  }

  private mutating func remember(_ digest: CredentialDigest) {
    if isVerified(digest) { return }
    if verified.isEmpty {
      verified = .init(repeating: nil, count: Self.setCount * Self.setSize)
      positions = .init(repeating: 0, count: Self.setCount)
    }
    let set = Self.set(of: digest)
    verified[set * Self.setSize + Int(positions[set])] = digest
    positions[set] = (positions[set] + 1) % UInt8(Self.setSize)
  }
}

/// Credentials on their way to the thread that checks them.
final class PasswordJob: Sendable {
  let password: [UInt8]
  let stored: [UInt8]
  let digest: CredentialDigest
  let worker: Int
  private let wanted = Atomic(true)

  init(password: [UInt8], stored: [UInt8], digest: CredentialDigest, worker: Int) {
    self.password = password
    self.stored = stored
    self.digest = digest
    self.worker = worker
  }

  /// Whether somebody waits for the outcome. For the thread, before it begins.
  var isWanted: Bool { wanted.load(ordering: .relaxed) }

  /// Nobody waits for the outcome any more. For the worker.
  func withdraw() { wanted.store(false, ordering: .relaxed) }
}

// The keys that session tickets are encrypted with: one object for all threads and all reloads.
//
// Either the keys come from files (ssl_session_ticket_key: the first encrypts, all decrypt), or
// they are random and rotated: a new one every `rotationSeconds`, and a few previous ones still
// decrypt. This is one of the few objects that threads share. Its lock is taken once per handshake
// that uses tickets, for as long as copying 81 bytes takes.

import COpenSSL
import Synchronization

/// Ticket keys shared by all worker threads.
final class TLSTicketKeys: Sendable {
  /// Twelve hours: with two previous keys a ticket can be resumed for at least a day.
  static let defaultRotationSeconds = 12 * 3600
  /// Bound: previous keys that still decrypt; each is one comparison for an unknown ticket.
  private static let previousCount = 2

  private struct State {
    var keys: [portico_ticket_key]  // the first encrypts
    var rotationSeconds: Int  // 0: the keys come from files
    var newestSeconds: Int64
  }

  private let state: Mutex<State>

  /// Random keys, a new one every `rotationSeconds`.
  init(rotationSeconds: Int = TLSTicketKeys.defaultRotationSeconds) {
    precondition(rotationSeconds > 0)
    state = Mutex(
      State(
        keys: [Self.randomKey()], rotationSeconds: rotationSeconds,
        newestSeconds: portico_monotonic_seconds()))
  }

  /// The keys of `files`, each 48 or 80 bytes; `paths` are for the message.
  init(files: [[UInt8]], paths: [String]) throws(TLSConfigurationError) {
    state = Mutex(
      State(keys: try Self.keys(of: files, paths), rotationSeconds: 0, newestSeconds: 0))
  }

  /// Replaces the keys by those of `files` at a reload. Tickets under a key that is still listed
  /// stay good.
  func replace(files: [[UInt8]], paths: [String]) throws(TLSConfigurationError) {
    let keys = try Self.keys(of: files, paths)
    state.withLock {
      $0.keys = keys
      $0.rotationSeconds = 0
    }
  }

  /// The key for new tickets at `now` (seconds of the monotonic clock).
  func encryptionKey(now: Int64) -> portico_ticket_key {
    state.withLock {
      Self.rotate(&$0, now)
      return $0.keys[0]
    }
  }

  /// The key called `name`, and whether it is the one that new tickets use.
  func decryptionKey(
    named name: UnsafePointer<UInt8>, now: Int64
  ) -> (key: portico_ticket_key, isNewest: Bool)? {
    state.withLock { state in
      Self.rotate(&state, now)
      for index in state.keys.indices {
        if unsafe portico_ticket_is_named(&state.keys[index], name) != 0 {
          return (state.keys[index], index == 0)
        }
      }
      return nil
    }
  }

  private static func rotate(_ state: inout State, _ now: Int64) {
    guard state.rotationSeconds > 0 else { return }
    let period = Int64(state.rotationSeconds)
    let age = now - state.newestSeconds
    guard age >= period else { return }
    // After a long silence the old keys have expired, too: their tickets are older than they may
    // be.
    if age >= period * Int64(previousCount + 1) { state.keys.removeAll() }
    state.keys.insert(randomKey(), at: 0)
    if state.keys.count > previousCount + 1 { state.keys.removeLast() }
    state.newestSeconds = now
  }

  private static func randomKey() -> portico_ticket_key {
    var key = portico_ticket_key()
    var random = SystemRandomNumberGenerator()
    unsafe withUnsafeMutableBytes(of: &key) { bytes in
      for index in bytes.indices { unsafe bytes[index] = .random(in: 0...255, using: &random) }
    }
    key.keyBytes = 32
    return key
  }

  private static func keys(
    of files: [[UInt8]], _ paths: [String]
  ) throws(TLSConfigurationError) -> [portico_ticket_key] {
    precondition(!files.isEmpty && files.count == paths.count)
    var keys: [portico_ticket_key] = []
    for (bytes, path) in zip(files, paths) {
      guard bytes.count == 48 || bytes.count == 80 else {
        throw TLSConfigurationError(
          "ticket key \"\(path)\" must be 48 or 80 bytes, not \(bytes.count); make one with "
            + "\"openssl rand 80\"")
      }
      // 48 bytes: name 16, HMAC 16, AES 16; 80 bytes: name 16, HMAC 32, AES 32.
      let half = (bytes.count - 16) / 2
      var key = portico_ticket_key()
      key.keyBytes = UInt8(half)
      unsafe withUnsafeMutableBytes(of: &key.name) { unsafe $0.copyBytes(from: bytes[..<16]) }
      unsafe withUnsafeMutableBytes(of: &key.hmac) {
        unsafe $0.copyBytes(from: bytes[16..<(16 + half)])
      }
      unsafe withUnsafeMutableBytes(of: &key.aes) {
        unsafe $0.copyBytes(from: bytes[(16 + half)...])
      }
      keys.append(key)
    }
    return keys
  }
}

/// OpenSSL's callback for making (`mode` 1) or opening (0) a ticket. Answers 0: no such key, make a
/// full handshake; 1: good; 2: good, and issue a new one; -1: failed.
func onTicketKey(
  ssl: OpaquePointer?, name: UnsafeMutablePointer<UInt8>?, vector: UnsafeMutablePointer<UInt8>?,
  cipherState: OpaquePointer?, mac: OpaquePointer?, mode: Int32
) -> Int32 {
  guard let name = unsafe name, let vector = unsafe vector,
    let session = unsafe TLSSession.owner(of: ssl), let context = session.serverContext
  else { return -1 }
  let library = context.library
  let now = portico_monotonic_seconds()
  if mode == 1 {
    var key = context.ticketKeys.encryptionKey(now: now)
    unsafe portico_ticket_copy_name(&key, name)
    guard unsafe RAND_bytes_ex(library.handle, vector, 16, 0) == 1,
      unsafe portico_ticket_init(&key, library.cipher(for: key), vector, cipherState, mac, 1) == 1
    else { return -1 }
    return 1
  }
  guard let found = unsafe context.ticketKeys.decryptionKey(named: name, now: now) else { return 0 }
  var key = found.key
  guard unsafe portico_ticket_init(&key, library.cipher(for: key), vector, cipherState, mac, 0) == 1
  else { return -1 }
  // Clients use a ticket of TLS 1.3 once (RFC 8446 §C.4): each resumption brings the next.
  return unsafe SSL_version(ssl) == TLS1_3_VERSION || !found.isNewest ? 2 : 1
}

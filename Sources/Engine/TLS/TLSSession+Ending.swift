// How a session says goodbye: close_notify (RFC 8446 §6.1), by itself or behind the last bytes.
//
// A response that ends its connection would cost two system calls, two segments and two wake-ups of
// the client: one for its record, one for the alert. `holdLast` before it is written and `sendLast`
// behind it make that one of each.

import COpenSSL

extension TLSSession {
  /// Sends close_notify, once; the peer's answer is not waited for.
  func shutdownWrite() {
    guard !isBroken, !didSayGoodbye, isHandshakeFinished else { return }
    didSayGoodbye = true
    portico_clear_errors()
    _ = unsafe SSL_shutdown(ssl)
    portico_clear_errors()
  }

  /// `holdLast` was called.
  private var isLast: Bool { unsafe io.pointee.gathers == PORTICO_GATHER_LAST }

  /// Something that was kept back for `sendLast` has yet to leave.
  var holdsLast: Bool { isLast && holdsOutput }

  /// Keeps what is written from here on back for `sendLast`. Only for a few KiB: they are copied.
  func holdLast() {
    guard !isBroken, !didSayGoodbye, isHandshakeFinished else { return }
    unsafe io.pointee.gathers = UInt8(PORTICO_GATHER_LAST)
  }

  /// Sends what `holdLast` kept back, with close_notify behind it. `.bytes(0)` when all has left,
  /// or when nothing was kept back; after `.wantWrite` it is to be called again.
  func sendLast() -> TLSResult {
    guard isLast else { return .bytes(0) }
    shutdownWrite()
    return flush()
  }
}

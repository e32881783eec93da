// Sessions that clients resume by id, kept outside of OpenSSL: its callbacks for the zone of a
// context (`ssl_session_cache shared:NAME:SIZE`).
//
// As in nginx the zone is that of the site that the listener begins handshakes with. OpenSSL
// compares the session id context of what we give it with that of the site that the client asked
// for, so that one zone may hold the sessions of many policies: a session of another policy counts
// as unknown. With tickets on, sessions of TLS 1.3 are wholly in the client's hands, and nothing is
// kept.

import COpenSSL
import HTTP

extension TLSServerContext {
  /// Has OpenSSL keep the sessions that begin with this context in its zone.
  func useZone() {
    unsafe portico_ctx_set_owner(handle, Unmanaged.passUnretained(self).toOpaque())
    unsafe SSL_CTX_sess_set_new_cb(handle, onNewSession)
    unsafe SSL_CTX_sess_set_get_cb(handle, onSessionWanted)
    unsafe SSL_CTX_sess_set_remove_cb(handle, onSessionRemoved)
  }
}

/// The id of a session; it lives as long as the session.
private func identifier(_ session: OpaquePointer) -> Bytes {
  var count: UInt32 = 0
  guard let base = unsafe SSL_SESSION_get_id(session, &count) else { return Bytes() }
  return unsafe Bytes(base: base, count: Int(count))
}

/// A session was agreed on. Answers 0: we keep no reference to it.
private func onNewSession(ssl: OpaquePointer?, session: OpaquePointer?) -> Int32 {
  guard let ssl = unsafe ssl, let session = unsafe session,
    let zone = unsafe TLSSession.owner(of: ssl)?.firstContext?.sessions?.zone,
    unsafe !(SSL_version(ssl) == TLS1_3_VERSION && portico_ssl_uses_tickets(ssl) != 0)
  else { return 0 }
  let length = unsafe Int(i2d_SSL_SESSION(session, nil))
  let id = unsafe identifier(session)
  guard (1...TLSSessionRing.longestSession).contains(length), !id.isEmpty else { return 0 }
  unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: length) { room in
    var end = room.baseAddress
    guard unsafe Int(i2d_SSL_SESSION(session, &end)) == length, let base = room.baseAddress
    else { return }
    zone.keep(
      id, unsafe Bytes(base: UnsafePointer(base), count: length),
      timeout: unsafe SSL_SESSION_get_timeout(session))
    unsafe OPENSSL_cleanse(base, length)
  }
  return 0
}

/// A client offers the session of an id: gives it, or nil for a full handshake. One whose client's
/// certificate has to be asked about (`ssl_ocsp`), but whose chain isn't all here, is not given, as
/// with tickets.
private func onSessionWanted(
  ssl: OpaquePointer?, id: UnsafePointer<UInt8>?, count: Int32,
  copies: UnsafeMutablePointer<Int32>?
) -> OpaquePointer? {
  // The reference that we give is OpenSSL's own.
  unsafe copies?.pointee = 0
  guard let ssl = unsafe ssl, let id = unsafe id, (1...255).contains(count),
    let owner = unsafe TLSSession.owner(of: ssl), let zone = owner.firstContext?.sessions?.zone
  else { return nil }
  let found = unsafe withUnsafeTemporaryAllocation(
    byteCount: TLSSessionRing.longestSession, alignment: 16
  ) { room -> OpaquePointer? in
    let length = unsafe zone.copy(Bytes(base: id, count: Int(count)), into: room)
    guard length > 0, let base = room.baseAddress else { return nil }
    var start: UnsafePointer<UInt8>? = unsafe UnsafePointer(
      base.assumingMemoryBound(to: UInt8.self))
    defer { unsafe OPENSSL_cleanse(base, length) }
    return unsafe d2i_SSL_SESSION(nil, &start, length)
  }
  guard let session = unsafe found else {
    portico_clear_errors()
    return nil
  }
  if owner.serverContext?.asksStatus == true, unsafe portico_session_has_chain(ssl, session) == 0 {
    portico_clear_errors()
    unsafe SSL_SESSION_free(session)
    return nil
  }
  return unsafe session
}

/// A session must not be resumed: its time is up, or its connection failed.
private func onSessionRemoved(context: OpaquePointer?, session: OpaquePointer?) {
  guard let context = unsafe context, let session = unsafe session,
    let owner = unsafe portico_ctx_owner(context)
  else { return }
  let server = unsafe Unmanaged<TLSServerContext>.fromOpaque(owner).takeUnretainedValue()
  server.sessions?.zone.forget(unsafe identifier(session))
}

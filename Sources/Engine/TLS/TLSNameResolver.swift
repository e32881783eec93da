// Choosing a server's context by the name that a client asks for (SNI, RFC 6066 §3).
//
// The choice is made in OpenSSL's ClientHello callback, before it looks at versions, ciphers,
// tickets or early data: a server block's ssl_protocols holds for its name, and a ticket of another
// policy is refused because the session id context has already changed. The owner of a listener
// overrides `TLSNameResolver`; a session holds its resolver for as long as it lives. There are no
// closures.

import COpenSSL
import HTTP

/// What to do with a handshake once its server name is known.
enum TLSNameChoice {
  /// Go on with the context that the session began with.
  case keep
  /// Go on with this context.
  case use(TLSServerContext)
  /// Refuse the name: alert unrecognized_name.
  case reject
  /// The server block is known and broken (its certificate can't be loaded): alert internal_error.
  case fail
}

/// Maps server names to contexts. The base class keeps the session's own context for every name.
class TLSNameResolver {
  init() {}

  /// The choice for `name`: lower-case, without a trailing dot, nil when the client sent none.
  /// Called at most once per handshake; the bytes live as long as `session`.
  func context(for name: Bytes?, session: TLSSession) -> TLSNameChoice { .keep }

  /// Puts certificates into `session` that depend on the handshake; false if there are none.
  func findCertificates(_ dynamic: TLSDynamicCertificates, for session: TLSSession) -> Bool {
    false
  }
}

/// OpenSSL's callback for a ClientHello: finds the server name and lets the resolver choose.
func onClientHello(
  ssl: OpaquePointer?, alert: UnsafeMutablePointer<Int32>?, _: UnsafeMutableRawPointer?
) -> Int32 {
  guard let ssl = unsafe ssl, let alert = unsafe alert,
    let session = unsafe TLSSession.owner(of: ssl)
  else { return SSL_CLIENT_HELLO_ERROR }
  // After a HelloRetryRequest the client says hello again: the first choice stands.
  if session.hasChosenContext { return SSL_CLIENT_HELLO_SUCCESS }
  var bytes: UnsafePointer<UInt8>?
  var count = 0
  if unsafe SSL_client_hello_get0_ext(
    ssl, UInt32(TLSEXT_TYPE_server_name), &bytes, &count) == 1, let bytes = unsafe bytes
  {
    switch parseServerName(unsafe Bytes(base: bytes, count: count)) {
    case .name(let name): session.remember(serverName: name)
    case .malformed:
      unsafe alert.pointee = Int32(SSL_AD_DECODE_ERROR)
      return SSL_CLIENT_HELLO_ERROR
    case .unacceptable:
      unsafe alert.pointee = Int32(SSL_AD_UNRECOGNIZED_NAME)
      return SSL_CLIENT_HELLO_ERROR
    }
  }
  switch session.chooseContext() {
  case .accepted: return SSL_CLIENT_HELLO_SUCCESS
  case .rejected: unsafe alert.pointee = Int32(SSL_AD_UNRECOGNIZED_NAME)
  case .broken: unsafe alert.pointee = Int32(SSL_AD_INTERNAL_ERROR)
  }
  return SSL_CLIENT_HELLO_ERROR
}

/// A server_name extension, read.
enum ServerNameExtension {
  case name(Bytes)
  case malformed
  case unacceptable
}

/// Reads the body of a server_name extension: a list that holds one host name of 1 to 255 bytes
/// without NUL. An empty one breaks the syntax of RFC 6066 §3. As OpenSSL, we accept exactly one
/// entry.
func parseServerName(_ body: Bytes) -> ServerNameExtension {
  guard body.count >= 6, Int(body[0]) << 8 + Int(body[1]) + 2 == body.count,
    body[2] == TLSEXT_NAMETYPE_host_name, Int(body[3]) << 8 + Int(body[4]) + 5 == body.count
  else { return .malformed }
  let name = body.dropping(5)
  guard name.count <= Int(TLSEXT_MAXLEN_host_name) else { return .unacceptable }
  for index in 0..<name.count where name[index] == 0 { return .unacceptable }
  return .name(name)
}

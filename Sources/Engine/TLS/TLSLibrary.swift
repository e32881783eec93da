// OpenSSL's library context: one per worker thread, and one wherever certificates are checked.
//
// Contexts and sessions made from one library take their locks, random numbers and algorithm tables
// from it, and share none with other threads (30 lock operations a handshake instead of 660). It is
// used by one thread at a time and lives longer than every context made from it: they retain it.

import COpenSSL

/// An OpenSSL library context with its default provider, and what sessions of a thread share.
@safe
final class TLSLibrary {
  let handle: OpaquePointer
  private let provider: OpaquePointer
  let transport: OpaquePointer
  let aes128: OpaquePointer
  let aes256: OpaquePointer

  /// Loads the default provider into a new library context.
  ///
  /// - Precondition: there is memory for it, and OpenSSL has its built-in default provider.
  init() {
    guard let handle = unsafe OSSL_LIB_CTX_new(),
      let provider = unsafe OSSL_PROVIDER_load(handle, "default"),
      let aes128 = unsafe EVP_CIPHER_fetch(handle, "AES-128-CBC", nil),
      let aes256 = unsafe EVP_CIPHER_fetch(handle, "AES-256-CBC", nil),
      let transport = unsafe Self.sharedTransport
    else { preconditionFailure("OpenSSL has no default provider, or memory is exhausted") }
    unsafe self.handle = handle
    unsafe self.provider = provider
    unsafe self.aes128 = aes128
    unsafe self.aes256 = aes256
    unsafe self.transport = transport
  }

  deinit {
    unsafe EVP_CIPHER_free(aes128)
    unsafe EVP_CIPHER_free(aes256)
    unsafe OSSL_PROVIDER_unload(provider)
    unsafe OSSL_LIB_CTX_free(handle)
  }

  /// The cipher that a ticket key encrypts with.
  func cipher(for key: portico_ticket_key) -> OpaquePointer {
    unsafe key.keyBytes == 16 ? aes128 : aes256
  }

  // Safety: made once, and only read afterwards.
  nonisolated(unsafe) private static let sharedTransport = unsafe portico_bio_method()
}

// OpenSSL for Swift: the macros that Swift can't see, as functions; loops over OpenSSL's typed
// stacks; and the BIO that a session runs on. Everything is `static inline`: there is no C object
// to link.
#pragma once
#include "socket_bio.h"
#include <dlfcn.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

// --- Errors --------------------------------------------------------------------------------------

// The queue is almost always empty: looking costs less than clearing its 16 entries.
static inline void portico_clear_errors(void) {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

static inline int portico_error_is(unsigned long code, int library, int reason) {
  return ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason;
}

static inline int portico_is_http_request(unsigned long code) {
  return portico_error_is(code, ERR_LIB_SSL, SSL_R_HTTP_REQUEST) ||
         portico_error_is(code, ERR_LIB_SSL, SSL_R_HTTPS_PROXY_REQUEST);
}

static inline int portico_is_key_mismatch(unsigned long code) {
  return portico_error_is(code, ERR_LIB_X509, X509_R_KEY_VALUES_MISMATCH) ||
         portico_error_is(code, ERR_LIB_X509, X509_R_KEY_TYPE_MISMATCH);
}

static inline int portico_is_verify_failure(unsigned long code) {
  return portico_error_is(code, ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
}

// The chain ends at a CA that we don't know; nginx's optional_no_ca forgives exactly these.
static inline int portico_is_unknown_ca(long verifyResult) {
  return verifyResult == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
         verifyResult == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         verifyResult == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         verifyResult == X509_V_ERR_CERT_UNTRUSTED ||
         verifyResult == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

static inline int portico_is_pem_end(unsigned long code) {
  return portico_error_is(code, ERR_LIB_PEM, PEM_R_NO_START_LINE);
}

// --- SSL_CTX -------------------------------------------------------------------------------------

static inline void portico_ctx_set_modes(SSL_CTX *ctx) {
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_ANTI_REPLAY);
}

enum {
  PORTICO_TLS1_0 = 1,
  PORTICO_TLS1_1 = 2,
  PORTICO_TLS1_2 = 4,
  PORTICO_TLS1_3 = 8
};

// Protocols are chosen by options, as nginx does, so that ssl_conf_command can narrow them further.
static inline void portico_ctx_set_protocols(SSL_CTX *ctx, uint8_t protocols) {
  SSL_CTX_set_min_proto_version(ctx, 0);
  SSL_CTX_set_max_proto_version(ctx, 0);
  SSL_CTX_clear_options(ctx, SSL_OP_NO_SSL_MASK);
  uint64_t off = SSL_OP_NO_SSLv3;
  if (!(protocols & PORTICO_TLS1_0)) off |= SSL_OP_NO_TLSv1;
  if (!(protocols & PORTICO_TLS1_1)) off |= SSL_OP_NO_TLSv1_1;
  if (!(protocols & PORTICO_TLS1_2)) off |= SSL_OP_NO_TLSv1_2;
  if (!(protocols & PORTICO_TLS1_3)) off |= SSL_OP_NO_TLSv1_3;
  SSL_CTX_set_options(ctx, off);
}

// With `yieldsToChaCha` a client whose first cipher is ChaCha20 gets that.
static inline void portico_ctx_prefer_server_ciphers(SSL_CTX *ctx, int yieldsToChaCha) {
  SSL_CTX_set_options(
      ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | (yieldsToChaCha ? SSL_OP_PRIORITIZE_CHACHA : 0));
}

static inline void portico_ctx_disable_tickets(SSL_CTX *ctx) {
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
}

static inline int portico_ctx_set_curves(SSL_CTX *ctx, const char *list) {
  return (int)SSL_CTX_set1_groups_list(ctx, list);
}

// The groups that need no ssl_ecdh_curve: what all clients have, and the post-quantum hybrid in
// front where the library knows it (OpenSSL 3.5). OpenSSL's own list has X448, P-521 and finite
// fields as well, which no client depends on; Mozilla's profiles leave them out.
static const char *const portico_standard_groups[] = {"X25519MLKEM768:X25519:P-256:P-384",
                                                      "X25519:P-256:P-384", "P-256:P-384"};

// Leaves the library's own list only where it has none of ours, as a provider may that is certified.
static inline void portico_ctx_set_standard_curves(SSL_CTX *ctx) {
  for (int i = 0; i < 3; i++)
    if (SSL_CTX_set1_groups_list(ctx, portico_standard_groups[i]) == 1) break;
  ERR_clear_error();
}

// NULL: the standard groups.
static inline int portico_ssl_set_curves(SSL *ssl, const char *list) {
  if (list != NULL) return (int)SSL_set1_groups_list(ssl, list);
  for (int i = 0; i < 3; i++) {
    if (SSL_set1_groups_list(ssl, portico_standard_groups[i]) != 1) continue;
    ERR_clear_error();
    return 1;
  }
  return 0;
}

// What later versions bring is looked up at run time: the binary runs with 3.0 as well.
typedef int (*portico_compress_function)(SSL_CTX *, int);
static inline portico_compress_function portico_find_compression(void) {
  return (portico_compress_function)dlsym(RTLD_DEFAULT, "SSL_CTX_compress_certs");
}

// Whether certificates can be compressed (RFC 8879), from OpenSSL 3.2 on where it is built with zlib,
// brotli or zstd.
static inline int portico_can_compress_certificates(void) {
  return portico_find_compression() != NULL;
}

// Compresses the certificates that `ctx` has, by each algorithm that the library has.
static inline void portico_ctx_compress_certificates(SSL_CTX *ctx) {
  portico_compress_function compress = portico_find_compression();
  if (compress != NULL) compress(ctx, 0);
}

static inline int portico_ctx_set_record_size(SSL_CTX *ctx, long bytes) {
  return (int)SSL_CTX_set_max_send_fragment(ctx, bytes);
}

static inline int portico_ssl_set_record_size(SSL *ssl, long bytes) {
  // Lowered with the longest record, and not raised again.
  return SSL_set_max_send_fragment(ssl, bytes) && SSL_set_split_send_fragment(ssl, bytes);
}

// Whether `bytes` are a response of an OCSP responder that says something about a certificate.
static inline int portico_is_ocsp_response(const uint8_t *bytes, long count) {
  const unsigned char *position = bytes;
  OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &position, count);
  int good = response != NULL && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
  OCSP_RESPONSE_free(response);
  return good;
}

static inline void portico_ctx_set_status_callback(SSL_CTX *ctx, int (*callback)(SSL *, void *)) {
  SSL_CTX_set_tlsext_status_cb(ctx, callback);
}

// Staples a copy of `bytes`; OpenSSL frees it.
static inline int portico_ssl_staple(SSL *ssl, const uint8_t *bytes, long count) {
  unsigned char *copy = (unsigned char *)OPENSSL_memdup(bytes, (size_t)count);
  if (copy == NULL) return 0;
  return (int)SSL_set_tlsext_status_ocsp_resp(ssl, copy, count);
}

// Signature algorithm `index` of the ClientHello as its two bytes; -1 when there are no more.
static inline int portico_ssl_offered_signature(SSL *ssl, int index) {
  unsigned char signature = 0, hash = 0;
  int count = SSL_get_sigalgs(ssl, index, NULL, NULL, NULL, &signature, &hash);
  if (index >= count) return -1;
  return hash << 8 | signature;
}

enum { PORTICO_CACHE_OFF, PORTICO_CACHE_NONE, PORTICO_CACHE_ON, PORTICO_CACHE_ZONE };

static inline void portico_ctx_set_server_cache(SSL_CTX *ctx, int mode, long sessions) {
  long flags = SSL_SESS_CACHE_OFF;
  if (mode == PORTICO_CACHE_NONE)
    flags = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR | SSL_SESS_CACHE_NO_INTERNAL_STORE;
  if (mode == PORTICO_CACHE_ON) flags = SSL_SESS_CACHE_SERVER;
  if (mode == PORTICO_CACHE_ZONE)
    flags = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR | SSL_SESS_CACHE_NO_INTERNAL;
  SSL_CTX_set_session_cache_mode(ctx, flags);
  if (mode != PORTICO_CACHE_OFF) SSL_CTX_sess_set_cache_size(ctx, sessions);
}

// What `ctx` belongs to, for callbacks that are told of nothing else.
static inline void portico_ctx_set_owner(SSL_CTX *ctx, void *owner) {
  SSL_CTX_set_ex_data(ctx, 0, owner);
}

static inline void *portico_ctx_owner(const SSL_CTX *ctx) { return SSL_CTX_get_ex_data(ctx, 0); }

static inline int portico_ssl_uses_tickets(const SSL *ssl) {
  return (SSL_get_options(ssl) & SSL_OP_NO_TICKET) == 0;
}

static inline void portico_ctx_set_client_cache(SSL_CTX *ctx) {
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}

static inline int portico_ctx_clear_chain(SSL_CTX *ctx) {
  return (int)SSL_CTX_clear_chain_certs(ctx);
}

// Takes the reference to `certificate` when it succeeds.
static inline int portico_ctx_add_chain(SSL_CTX *ctx, X509 *certificate) {
  return (int)SSL_CTX_add0_chain_cert(ctx, certificate);
}

static inline int portico_ssl_clear_chain(SSL *ssl) { return (int)SSL_clear_chain_certs(ssl); }

static inline int portico_ssl_add_chain(SSL *ssl, X509 *certificate) {
  return (int)SSL_add1_chain_cert(ssl, certificate);
}

// The subject joins the names that a client is told to choose its certificate by; a repeated one
// doesn't.
static inline int portico_ctx_add_client_ca(SSL_CTX *ctx, X509 *certificate) {
  const STACK_OF(X509_NAME) *names = SSL_CTX_get_client_CA_list(ctx);
  X509_NAME *subject = X509_get_subject_name(certificate);
  for (int i = 0; names != NULL && i < sk_X509_NAME_num(names); i++)
    if (X509_NAME_cmp(sk_X509_NAME_value(names, i), subject) == 0) return 1;
  return SSL_CTX_add_client_CA(ctx, certificate);
}

static inline int portico_store_check_crls(X509_STORE *store) {
  return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

static int portico_accept_any_chain(int ok, X509_STORE_CTX *store) {
  (void)ok;
  (void)store;
  return 1;
}

// A client's certificate never fails the handshake: HTTP answers 400 and the log says why.
static inline void portico_ctx_ask_for_certificate(SSL_CTX *ctx, int depth) {
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, portico_accept_any_chain);
  SSL_CTX_set_verify_depth(ctx, depth);
}

static inline void portico_ctx_verify_server(SSL_CTX *ctx, int depth) {
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_verify_depth(ctx, depth);
}

// --- SSL -----------------------------------------------------------------------------------------

// Moves a connection to the policy of `ctx` during its ClientHello. SSL_set_SSL_CTX itself changes
// only certificates and the session id context.
static inline int portico_ssl_switch(SSL *ssl, SSL_CTX *ctx) {
  if (SSL_set_SSL_CTX(ssl, ctx) == NULL) return 0;
  SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx), SSL_CTX_get_verify_callback(ctx));
  SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(ctx));
  SSL_clear_options(ssl, SSL_get_options(ssl) & ~SSL_CTX_get_options(ctx));
  SSL_set_options(ssl, SSL_CTX_get_options(ctx) | SSL_OP_NO_RENEGOTIATION);
  SSL_set_min_proto_version(ssl, (int)SSL_CTX_get_min_proto_version(ctx));
  SSL_set_max_proto_version(ssl, (int)SSL_CTX_get_max_proto_version(ctx));
  SSL_set_security_level(ssl, SSL_CTX_get_security_level(ctx));
  SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(ctx));
  SSL_set_max_early_data(ssl, SSL_CTX_get_max_early_data(ctx));
  SSL_set_recv_max_early_data(ssl, SSL_CTX_get_recv_max_early_data(ctx));
  return 1;
}

static inline int portico_acknowledge_name(SSL *ssl, int *alert, void *unused) {
  (void)ssl, (void)alert, (void)unused;
  return SSL_TLSEXT_ERR_OK;
}

// Names that clients send are acknowledged by an empty server_name extension (RFC 6066 section 3).
static inline void portico_ctx_acknowledge_names(SSL_CTX *ctx) {
  SSL_CTX_set_tlsext_servername_callback(ctx, portico_acknowledge_name);
}

static inline int portico_ssl_set_server_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}

// A server's certificate must be for `name`, a DNS name or an IP address.
static inline int portico_ssl_expect_name(SSL *ssl, const char *name) {
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) return 1;
  ERR_clear_error();
  return X509_VERIFY_PARAM_set1_host(param, name, 0);
}

static inline void *portico_ssl_owner(const SSL *ssl) {
  BIO *bio = SSL_get_rbio(ssl);
  return bio == NULL ? NULL : portico_bio_state(bio)->owner;
}

// The name of a group by its NID, or by its code where it has none: the post-quantum ones of OpenSSL 3.5.
static inline const char *portico_curve_name(SSL *ssl, int nid) {
  return (nid & TLSEXT_nid_unknown) ? SSL_group_to_name(ssl, nid) : OBJ_nid2sn(nid);
}

// The name of the key exchange group, or NULL.
static inline const char *portico_ssl_curve(SSL *ssl) {
  int nid = (int)SSL_get_negotiated_group(ssl);
  return nid == NID_undef ? NULL : portico_curve_name(ssl, nid);
}

// The cipher suites of the ClientHello as they came, two bytes each; their length in bytes.
static inline long portico_ssl_raw_ciphers(SSL *ssl, const uint8_t **bytes) {
  unsigned char *list = NULL;
  long count = SSL_get0_raw_cipherlist(ssl, &list);
  *bytes = list;
  return list == NULL || SSL_get0_raw_cipherlist(ssl, NULL) != 2 ? 0 : count;
}

static inline const char *portico_cipher_name(SSL *ssl, const uint8_t *code) {
  const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, code);
  return cipher == NULL ? NULL : SSL_CIPHER_get_name(cipher);
}

// At most `capacity` of the groups that the client offered; how many.
static inline int portico_ssl_offered_curves(SSL *ssl, int *codes, int capacity) {
  int count = (int)SSL_get1_curves(ssl, NULL);
  if (count <= 0) return 0;
  int *all = (int *)malloc((size_t)count * sizeof *all);
  if (all == NULL) return 0;
  count = (int)SSL_get1_curves(ssl, all);
  int taken = count < capacity ? count : capacity;
  if (taken > 0) memcpy(codes, all, (size_t)taken * sizeof *all);
  free(all);
  return taken > 0 ? taken : 0;
}

// Freed without its close_notify, a session is not a bad one: it may be resumed all the same.
static inline void portico_ssl_keep_session(SSL *ssl) {
  SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

// --- Session tickets -----------------------------------------------------------------------------

struct portico_ticket_key {
  uint8_t name[16];
  uint8_t hmac[32];
  uint8_t aes[32];
  uint8_t keyBytes; // 16: AES-128 (48-byte files), 32: AES-256 (80-byte files)
};

// Prepares the cipher and the HMAC of a ticket.
static inline int portico_ticket_init(const struct portico_ticket_key *key,
                                      const EVP_CIPHER *cipher, const uint8_t *iv,
                                      EVP_CIPHER_CTX *cipherState, EVP_MAC_CTX *mac,
                                      int isEncrypting) {
  OSSL_PARAM parameters[3] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->hmac, key->keyBytes),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
         EVP_CipherInit_ex(cipherState, cipher, NULL, key->aes, iv, isEncrypting) == 1;
}

static inline int portico_ticket_is_named(const struct portico_ticket_key *key,
                                          const uint8_t *name) {
  return memcmp(key->name, name, sizeof key->name) == 0;
}

static inline void portico_ticket_copy_name(const struct portico_ticket_key *key, uint8_t *name) {
  memcpy(name, key->name, sizeof key->name);
}

static inline int64_t portico_monotonic_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

static inline int64_t portico_unix_seconds(void) { return (int64_t)time(NULL); }

// --- Certificates --------------------------------------------------------------------------------

static inline size_t portico_bio_bytes(BIO *memory, const uint8_t **bytes) {
  char *start = NULL;
  long count = BIO_get_mem_data(memory, &start);
  *bytes = (const uint8_t *)start;
  return count > 0 ? (size_t)count : 0;
}

static inline int portico_name_count(const STACK_OF(X509_NAME) *names) {
  return names == NULL ? 0 : sk_X509_NAME_num(names);
}

static inline int portico_name_print(BIO *out, const X509_NAME *name) {
  return X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
}

static inline int portico_name_print_oneline(BIO *out, const X509_NAME *name) {
  char *text = X509_NAME_oneline(name, NULL, 0);
  if (text == NULL) return -1;
  int count = BIO_puts(out, text);
  OPENSSL_free(text);
  return count;
}

// Seconds since 1970, or INT64_MIN when the time can't be read.
static inline int64_t portico_time_seconds(const ASN1_TIME *time) {
  struct tm parts;
  if (ASN1_TIME_to_tm(time, &parts) != 1) return INT64_MIN;
  return (int64_t)timegm(&parts);
}

// A key on a curve: "P-256", or "ED25519" for that of its own kind.
static inline EVP_PKEY *portico_generate_curve(OSSL_LIB_CTX *library, const char *name) {
  if (strcmp(name, "ED25519") == 0) return EVP_PKEY_Q_keygen(library, NULL, name);
  return EVP_PKEY_Q_keygen(library, NULL, "EC", name);
}

static inline EVP_PKEY *portico_generate_rsa(OSSL_LIB_CTX *library, size_t bits) {
  return EVP_PKEY_Q_keygen(library, NULL, "RSA", bits);
}

// Adds the extension `nid`, written in the language of openssl.cnf.
static inline int portico_add_extension(X509 *certificate, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  if (extension == NULL) return 0;
  int added = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return added;
}

#include "ocsp.h"

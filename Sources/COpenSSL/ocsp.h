// Asking OCSP responders about certificates (RFC 6960): requests, and the judgement of answers, for
// `OCSPQuestion`. Certificates come as DER and everything is made in OpenSSL's default library context:
// nothing here is on the way of a handshake, but `portico_ocsp_is_about`, where a client asks for the response of a file.
#pragma once
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static inline X509 *portico_x509_of(const uint8_t *bytes, long count) {
  const unsigned char *position = bytes;
  return d2i_X509(NULL, &position, count);
}

// The certificate as DER in memory of OpenSSL's; its length, or less than 1.
static inline int portico_x509_der(X509 *certificate, uint8_t **bytes) {
  *bytes = NULL;
  return i2d_X509(certificate, bytes);
}

static inline void portico_free_bytes(uint8_t *bytes) { OPENSSL_free(bytes); }

// Copies a URL of an OCSP responder that the certificate names, counted from 0; its length, 0 if there is none.
static inline size_t portico_ocsp_url(X509 *certificate, int index, char *text, size_t room) {
  STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(certificate);
  size_t length = 0;
  if (index < sk_OPENSSL_STRING_num(urls)) {
    const char *url = sk_OPENSSL_STRING_value(urls, index);
    length = strlen(url);
    if (length < room) memcpy(text, url, length + 1); else length = 0;
  }
  X509_email_free(urls);
  return length;
}

// The request about `certificate`, as DER in memory of OpenSSL's; its length, or less than 1.
static inline int portico_ocsp_request(X509 *certificate, X509 *issuer, uint8_t **bytes) {
  *bytes = NULL;
  OCSP_REQUEST *request = OCSP_REQUEST_new();
  OCSP_CERTID *name = OCSP_cert_to_id(NULL, certificate, issuer);
  int count = 0;
  if (request != NULL && name != NULL && OCSP_request_add0_id(request, name) != NULL) {
    name = NULL;
    count = i2d_OCSP_REQUEST(request, bytes);
  }
  OCSP_CERTID_free(name);
  OCSP_REQUEST_free(request);
  return count;
}

// Whether `bytes`, an OCSP response, says something about `certificate`. Who issued that is known by name here: what the
// response has of the issuer's key is not compared.
static inline int portico_ocsp_is_about(const uint8_t *bytes, long count, X509 *certificate) {
  const unsigned char *position = bytes;
  OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &position, count);
  OCSP_BASICRESP *basic = response == NULL ? NULL : OCSP_response_get1_basic(response);
  int is_about = 0;
  for (int i = 0; basic != NULL && !is_about && i < OCSP_resp_count(basic); i++) {
    const OCSP_CERTID *name = OCSP_SINGLERESP_get0_id(OCSP_resp_get0(basic, i));
    ASN1_OCTET_STRING *issuer;
    ASN1_OBJECT *algorithm;
    ASN1_INTEGER *serial;
    OCSP_id_get0_info(&issuer, &algorithm, NULL, &serial, (OCSP_CERTID *)name);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    const EVP_MD *kind = EVP_get_digestbyobj(algorithm);
    is_about = kind != NULL && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate)) == 0
      && X509_NAME_digest(X509_get_issuer_name(certificate), kind, digest, &length) == 1
      && ASN1_STRING_length(issuer) == (int)length
      && memcmp(ASN1_STRING_get0_data(issuer), digest, length) == 0;
  }
  OCSP_BASICRESP_free(basic);
  OCSP_RESPONSE_free(response);
  return is_about;
}

enum {
  PORTICO_OCSP_GOOD, PORTICO_OCSP_MALFORMED, PORTICO_OCSP_UNVERIFIED,
  PORTICO_OCSP_OTHER, PORTICO_OCSP_REVOKED, PORTICO_OCSP_UNKNOWN, PORTICO_OCSP_OUT_OF_DATE,
  // The responder refused the request: its status (RFC 6960 §4.2.1) is added.
  PORTICO_OCSP_REFUSED = 100
};

// Whether the response speaks for itself about `name`: signed, of these days, and what it says. `until` is when it
// ends in seconds since 1970, 0 if it doesn't say.
static inline int portico_ocsp_judge_basic(
    OCSP_BASICRESP *basic, OCSP_CERTID *name, X509 *issuer, X509_STORE *store, int verify,
    int64_t *until) {
  STACK_OF(X509) *others = sk_X509_new_null();
  if (others == NULL || !sk_X509_push(others, issuer)) {
    sk_X509_free(others);
    return PORTICO_OCSP_UNVERIFIED;
  }
  // Without verification the signature still has to be that of a certificate at hand.
  int isSigned = OCSP_basic_verify(basic, others, store, verify ? OCSP_TRUSTOTHER : OCSP_NOVERIFY);
  sk_X509_free(others);
  if (isSigned != 1) return PORTICO_OCSP_UNVERIFIED;
  int status = 0;
  ASN1_GENERALIZEDTIME *this_update = NULL, *next_update = NULL;
  if (OCSP_resp_find_status(basic, name, &status, NULL, NULL, &this_update, &next_update) != 1) {
    return PORTICO_OCSP_OTHER;
  }
  // Five minutes for clocks that differ. An answer without an end claims to be of this moment (RFC 6960
  // §4.2.2.1): a day old at most, or it could be replayed for ever.
  long oldest = next_update == NULL ? 86400 : -1;
  if (OCSP_check_validity(this_update, next_update, 300, oldest) != 1) {
    return PORTICO_OCSP_OUT_OF_DATE;
  }
  *until = next_update == NULL ? 0 : portico_time_seconds(next_update);
  if (status == V_OCSP_CERTSTATUS_REVOKED) return PORTICO_OCSP_REVOKED;
  if (status != V_OCSP_CERTSTATUS_GOOD) return PORTICO_OCSP_UNKNOWN;
  return PORTICO_OCSP_GOOD;
}

// Judges an answer about `certificate`; `store` is what the signature is verified by.
static inline int portico_ocsp_judge(
    const uint8_t *bytes, long count, X509 *certificate, X509 *issuer, X509_STORE *store, int verify,
    int64_t *until) {
  const unsigned char *position = bytes;
  OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &position, count);
  if (response == NULL) return PORTICO_OCSP_MALFORMED;
  int status = OCSP_response_status(response);
  int verdict = PORTICO_OCSP_REFUSED + status;
  if (status == OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    OCSP_CERTID *name = OCSP_cert_to_id(NULL, certificate, issuer);
    verdict = basic == NULL || name == NULL
      ? PORTICO_OCSP_MALFORMED
      : portico_ocsp_judge_basic(basic, name, issuer, store, verify, until);
    OCSP_CERTID_free(name);
    OCSP_BASICRESP_free(basic);
  }
  OCSP_RESPONSE_free(response);
  return verdict;
}

// Builds and verifies the chain of a client's certificate from what the server trusts and `others`.
static inline STACK_OF(X509) *portico_build_chain(SSL *ssl, X509 *leaf, STACK_OF(X509) *others) {
  X509_STORE_CTX *verification = X509_STORE_CTX_new();
  STACK_OF(X509) *chain = NULL;
  X509_STORE *trusted = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
  if (leaf != NULL && verification != NULL &&
      X509_STORE_CTX_init(verification, trusted, leaf, others) == 1) {
    X509_STORE_CTX_set_default(verification, "ssl_client");
    X509_STORE_CTX_set_depth(verification, SSL_get_verify_depth(ssl));
    if (X509_verify_cert(verification) == 1) chain = X509_STORE_CTX_get1_chain(verification);
  }
  X509_STORE_CTX_free(verification);
  return chain;
}

// The chain of a client's certificate, leaf first, to be freed by the caller; NULL if there is none. A
// resumed session doesn't remember its chain.
static inline STACK_OF(X509) *portico_ssl_verified_chain(SSL *ssl) {
  STACK_OF(X509) *known = SSL_get0_verified_chain(ssl);
  if (known != NULL) return X509_chain_up_ref(known);
  return portico_build_chain(ssl, SSL_get0_peer_certificate(ssl), SSL_get_peer_cert_chain(ssl));
}

// Whether the chain of the certificate that a session from a ticket remembers can be had without the
// client, who sends nothing of it again; so it is where there is no certificate.
static inline int portico_session_has_chain(SSL *ssl, SSL_SESSION *session) {
  X509 *leaf = SSL_SESSION_get0_peer(session);
  if (leaf == NULL) return 1;
  STACK_OF(X509) *chain = portico_build_chain(ssl, leaf, NULL);
  sk_X509_pop_free(chain, X509_free);
  return chain != NULL;
}

static inline int portico_chain_count(STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *portico_chain_at(STACK_OF(X509) *chain, int index) {
  return sk_X509_value(chain, index);
}
static inline void portico_chain_free(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }

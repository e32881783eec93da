// The transport under a TLS session: an OpenSSL BIO on a non-blocking socket, one system call a
// flight.
//
// What it does that BIO_s_socket does not:
// - After a receive that returned less than asked for, the socket is empty: reads answer "retry"
//   without a system call until the owner says that epoll reported the socket again
//   (portico_bio_readable).
// - While a handshake runs, writes are gathered and leave with the flush at the end of the flight.
//   The flush of a TLS 1.3 session ticket is held back: the ticket leaves in front of the first
//   response, or when the owner finds that there is nothing to read (portico_bio_flush).
// - So are the last bytes of a connection, for close_notify to leave with them.
// - MSG_NOSIGNAL, and the errno of a failed call is kept for the log.
//
// Ownership: Swift owns the struct portico_bio (TLSSession) and outlives the BIO that points to it.
#pragma once
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { PORTICO_GATHER_NOTHING = 0, PORTICO_GATHER_FLIGHT = 1, PORTICO_GATHER_LAST = 2 };

struct portico_bio {
  int32_t fd;
  int32_t error;         // errno of the last failed call, 0 when none failed
  uint8_t drained;       // the last receive emptied the socket
  uint8_t hungUp;        // the peer's FIN was reported: a short read no longer proves emptiness
  uint8_t sawEOF;        // receive returned 0
  uint8_t gathers;       // whose writes wait for the flush: PORTICO_GATHER_…
  uint32_t heldStart;    // bytes of `held` that have been sent
  uint32_t heldCount;    // bytes of `held` that have not
  uint32_t heldCapacity;
  uint8_t *held;
  SSL *ssl;
  void *owner;           // the TLSSession; here, because SSL_set_app_data would allocate twice
};

static inline struct portico_bio *portico_bio_state(BIO *bio) {
  return (struct portico_bio *)BIO_get_data(bio);
}

static inline int portico_is_transient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static inline void portico_bio_drop_held(struct portico_bio *state) {
  free(state->held);
  state->held = NULL;
  state->heldStart = state->heldCount = state->heldCapacity = 0;
}

static int portico_bio_read(BIO *bio, char *buffer, size_t capacity, size_t *count) {
  struct portico_bio *state = portico_bio_state(bio);
  BIO_clear_retry_flags(bio);
  *count = 0;
  if (state->drained) {
    BIO_set_retry_read(bio);
    return -1;
  }
  ssize_t n;
  do n = recv(state->fd, buffer, capacity, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    *count = (size_t)n;
    state->drained = (size_t)n < capacity && !state->hungUp;
    return 1;
  }
  if (n == 0) {
    state->sawEOF = 1;
    return 0;
  }
  if (portico_is_transient(errno)) {
    state->drained = 1;
    BIO_set_retry_read(bio);
  } else {
    state->error = errno;
  }
  return -1;
}

// Appends to what is held. Bound: a flight of a handshake is at most what OpenSSL's own message
// limits allow (a certificate chain of 100 KiB); beyond 1 MiB the connection fails.
static inline int portico_bio_hold(struct portico_bio *state, const char *bytes, size_t count) {
  size_t used = (size_t)state->heldStart + state->heldCount;
  if (used + count > (1u << 20)) return 0;
  if (used + count > state->heldCapacity) {
    size_t capacity = used + count < 4096 ? 4096 : 2 * (used + count);
    uint8_t *grown = (uint8_t *)realloc(state->held, capacity);
    if (grown == NULL) return 0;
    state->held = grown;
    state->heldCapacity = (uint32_t)capacity;
  }
  memcpy(state->held + used, bytes, count);
  state->heldCount += (uint32_t)count;
  return 1;
}

// Sends what is held and then `bytes`, with one system call. Returns how many of `bytes` were
// taken, or -1: nothing of them was.
static inline ssize_t portico_bio_send(struct portico_bio *state, const char *bytes, size_t count) {
  ssize_t n;
  if (state->heldCount == 0) {
    do n = send(state->fd, bytes, count, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !portico_is_transient(errno)) state->error = errno;
    return n;
  }
  struct iovec parts[2] = {
      {.iov_base = state->held + state->heldStart, .iov_len = state->heldCount},
      {.iov_base = (void *)bytes, .iov_len = count},
  };
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count > 0 ? 2 : 1};
  do n = sendmsg(state->fd, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (!portico_is_transient(errno)) state->error = errno;
    return -1;
  }
  if ((size_t)n < state->heldCount) {
    state->heldStart += (uint32_t)n;
    state->heldCount -= (uint32_t)n;
    if (count == 0) return 0;
    errno = EAGAIN;
    return -1;
  }
  n -= state->heldCount;
  portico_bio_drop_held(state);
  if (n == 0 && count > 0) {
    errno = EAGAIN;
    return -1;
  }
  return n;
}

static int portico_bio_write(BIO *bio, const char *bytes, size_t count, size_t *written) {
  struct portico_bio *state = portico_bio_state(bio);
  BIO_clear_retry_flags(bio);
  *written = 0;
  if (state->gathers) {
    if (!portico_bio_hold(state, bytes, count)) {
      state->error = ENOBUFS;
      return -1;
    }
    *written = count;
    return 1;
  }
  ssize_t n = portico_bio_send(state, bytes, count);
  if (n < 0) {
    if (portico_is_transient(errno)) BIO_set_retry_write(bio);
    return -1;
  }
  *written = (size_t)n;
  return 1;
}

// Sends what is held: 1 done, 0 the socket takes no more, -1 failed.
static inline int portico_bio_flush(struct portico_bio *state) {
  if (state->heldCount == 0) return 1;
  if (portico_bio_send(state, NULL, 0) < 0) return portico_is_transient(errno) ? 0 : -1;
  return state->heldCount == 0;
}

static long portico_bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  (void)number;
  (void)pointer;
  struct portico_bio *state = portico_bio_state(bio);
  switch (command) {
  case BIO_CTRL_EOF:
    return state != NULL && state->sawEOF;
  case BIO_CTRL_FLUSH: {
    BIO_clear_retry_flags(bio);
    if (state->gathers == PORTICO_GATHER_FLIGHT && SSL_get_state(state->ssl) == TLS_ST_SW_SESSION_TICKET &&
        SSL_version(state->ssl) == TLS1_3_VERSION)
      return 1;
    int flushed = portico_bio_flush(state);
    if (flushed == 0) BIO_set_retry_write(bio);
    return flushed == 1 ? 1 : -1;
  }
  default:
    return 0;
  }
}

// The method table, made once per process and never changed afterwards.
static inline BIO_METHOD *portico_bio_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "portico socket");
  if (method == NULL) return NULL;
  BIO_meth_set_read_ex(method, portico_bio_read);
  BIO_meth_set_write_ex(method, portico_bio_write);
  BIO_meth_set_ctrl(method, portico_bio_ctrl);
  return method;
}

// Gives `ssl` a BIO of this kind on `state->fd`. Returns 0 when memory ran out.
static inline int portico_bio_attach(const BIO_METHOD *method, SSL *ssl,
                                     struct portico_bio *state) {
  BIO *bio = BIO_new(method);
  if (bio == NULL) return 0;
  BIO_set_data(bio, state);
  BIO_set_init(bio, 1);
  state->ssl = ssl;
  SSL_set_bio(ssl, bio, bio);
  return 1;
}

static inline void portico_bio_readable(struct portico_bio *state, int hungUp) {
  state->drained = 0;
  if (hungUp) state->hungUp = 1;
}

// c-ares: asynchronous DNS. Options are set here because ares_options is a C bit-and-pointer struct
// whose only two uses do not differ in more than three values, and which differs between versions.
#pragma once
#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

// Statuses as the numbers that its functions give: macros in c-ares 1.18 (Debian 12), constants of an
// enumeration since 1.23 (Ubuntu 24.04), which Swift does not compare with numbers.
static const int cares_success = ARES_SUCCESS;
static const int cares_not_found = ARES_ENOTFOUND;
static const int cares_bad_name = ARES_EBADNAME;
static const int cares_no_data = ARES_ENODATA;
static const int cares_timed_out = ARES_ETIMEOUT;
static const int cares_unreachable = ARES_ECONNREFUSED;

// Makes a channel. `own_servers`: only DNS, no search list and no /etc/hosts, for the `resolver`
// directive; otherwise as the system resolves names.
static inline int cares_open(ares_channel *channel, int own_servers, int timeout_ms, int tries,
                             ares_sock_state_cb on_socket, void *argument) {
  struct ares_options options;
  int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
  memset(&options, 0, sizeof options);
  options.sock_state_cb = on_socket;
  options.sock_state_cb_data = argument;
  options.timeout = timeout_ms;
  options.tries = tries;
  if (own_servers) {
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options.lookups = (char *)"b";
    mask |= ARES_OPT_FLAGS | ARES_OPT_LOOKUPS;
  }
#ifdef ARES_OPT_QUERY_CACHE
  // Answers are kept by `Resolver`, as long as their TTL or `valid=` says, and c-ares 1.31 and later
  // would keep them too.
  options.qcache_max_ttl = 0;
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  return ares_init_options(channel, &options, mask);
}

// Starts a lookup of all addresses of `name` in `family`, in the order in which they come.
static inline void cares_look_up(ares_channel channel, const char *name, int family,
                                 ares_addrinfo_callback on_answer, void *argument) {
  struct ares_addrinfo_hints hints = {
      .ai_flags = ARES_AI_NOSORT, .ai_family = family, .ai_socktype = SOCK_STREAM};
  ares_getaddrinfo(channel, name, NULL, &hints, on_answer, argument);
}

// Asks for the records of `name` of one type; the answer is a message as DNS sent it.
static inline void cares_ask(ares_channel channel, const char *name, int type,
                             ares_callback on_answer, void *argument) {
  ares_query(channel, name, 1 /* IN */, type, on_answer, argument);
}

// Milliseconds until the channel wants ares_process_fd to be called, or -1.
static inline int64_t cares_timeout_ms(ares_channel channel) {
  struct timeval time;
  if (ares_timeout(channel, NULL, &time) == NULL) return -1;
  return (int64_t)time.tv_sec * 1000 + (time.tv_usec + 999) / 1000;
}

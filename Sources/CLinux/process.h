// System calls about processes, users, threads and paths. Same rule as in shims.h: each returns its
// value, or -errno.
#pragma once
#include "shims.h"
#include <netdb.h>

// --- processes -----------------------------------------------------------------------------------

static inline int64_t linux_pipe(int *pair) {
  int64_t r = PORTICO_CALL(pipe(pair));
  if (r >= 0) { fcntl(pair[0], F_SETFD, FD_CLOEXEC); fcntl(pair[1], F_SETFD, FD_CLOEXEC); }
  return r;
}

// Forks and executes `path` in the child with `channel` as descriptor 3 (if not negative). Signals
// that are blocked stay blocked: one that comes before the child reads signals waits. Nothing runs between fork and exec but calls that are safe there.
// Returns when the child executes it, or -errno of what kept it from that: the child says so through a pipe that closes on
// exec. Descriptor 3 being the channel's, the pipe must not be that.
static inline int64_t linux_spawn(const char *path, char *const *arguments, char *const *environment, int channel) {
  int report[2];
  int64_t made = linux_pipe(report);
  if (made < 0) return made;
  pid_t child = fork();
  int error = child < 0 ? errno : 0;
  if (child == 0) {
    int end = fcntl(report[1], F_DUPFD_CLOEXEC, 4);
    if (channel == 3) fcntl(3, F_SETFD, 0);
    if (channel < 0 || channel == 3 || dup2(channel, 3) >= 0) execve(path, arguments, environment);
    error = errno;
    while (write(end, &error, sizeof error) < 0 && errno == EINTR) {}
    _exit(127);
  }
  close(report[1]);
  if (child > 0) {
    while (read(report[0], &error, sizeof error) < 0 && errno == EINTR) {}
    while (error != 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
  }
  close(report[0]);
  return error != 0 ? -(int64_t)error : child;
}
static inline int64_t linux_setsid(void) { return PORTICO_CALL(setsid()); }
static inline int64_t linux_parent_pid(void) { return getppid(); }
static inline void linux_exit_at_once(int code) { _exit(code); }
static inline int64_t linux_wait_child(int pid, int *status) { return PORTICO_CALL(waitpid(pid, status, 0)); }
static inline int64_t linux_raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -(int64_t)errno;
  limit.rlim_cur = limit.rlim_max;
  return PORTICO_CALL(setrlimit(RLIMIT_NOFILE, &limit));
}
static inline int64_t linux_set_core_limit(uint64_t bytes) {
  struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
  return PORTICO_CALL(setrlimit(RLIMIT_CORE, &limit));
}
static inline int64_t linux_allow_core_files(void) { return PORTICO_CALL(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }
static inline int64_t linux_set_priority(int priority) {
  return PORTICO_CALL(setpriority(PRIO_PROCESS, 0, priority));
}
static inline int64_t linux_change_folder(const char *path) { return PORTICO_CALL(chdir(path)); }
static inline int64_t linux_set_blocking(int fd, int on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -(int64_t)errno;
  return PORTICO_CALL(fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK));
}
static inline int64_t linux_open_null(void) { return PORTICO_CALL(open("/dev/null", O_RDWR | O_CLOEXEC)); }
// Opens /dev/null in the place of standard descriptors that are closed: the next file to be opened
// would be taken for one of them.
static inline void linux_fill_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)open("/dev/null", O_RDWR);
  }
}
static inline int64_t linux_set_environment(const char *name, const char *value) {
  return PORTICO_CALL(value ? setenv(name, value, 1) : unsetenv(name));
}
static inline const char *linux_get_environment(const char *name) { return getenv(name); }

// --- signals -------------------------------------------------------------------------------------

// Blocks the `count` signals of `numbers` in this thread.
static inline sigset_t linux_block_signals(const int *numbers, size_t count) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < count; i++) sigaddset(&set, numbers[i]);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return set;
}
// The same, and a descriptor that reads them.
static inline int64_t linux_signal_descriptor(const int *numbers, size_t count) {
  sigset_t set = linux_block_signals(numbers, count);
  return linux_signalfd(&set);
}
// The next signal of a descriptor of `linux_signal_descriptor`, 0 when none waits; who sent it.
static inline int linux_next_signal(int fd, int *sender) {
  struct signalfd_siginfo record;
  if (read(fd, &record, sizeof record) != (ssize_t)sizeof record) return 0;
  *sender = (int)record.ssi_pid;
  return (int)record.ssi_signo;
}

// --- users ---------------------------------------------------------------------------------------

// The user's numbers, or -ENOENT when there is no such user.
static inline int64_t linux_find_user(const char *name, uid_t *user, gid_t *group) {
  errno = 0;
  struct passwd *entry = getpwnam(name);
  if (!entry) return -(int64_t)ENOENT;
  *user = entry->pw_uid;
  *group = entry->pw_gid;
  return 0;
}
static inline int64_t linux_find_group(const char *name, gid_t *group) {
  struct group *entry = getgrnam(name);
  if (!entry) return -(int64_t)ENOENT;
  *group = entry->gr_gid;
  return 0;
}
// The supplementary groups of a user; how many there are, at most `count` are written.
static inline int64_t linux_groups_of(const char *name, gid_t group, gid_t *groups, int count) {
  int found = count;
  extern int getgrouplist(const char *, gid_t, gid_t *, int *);
  if (getgrouplist(name, group, groups, &found) < 0) return count;
  return found;
}
static inline int64_t linux_set_group_list(const gid_t *groups, size_t count) {
  extern int setgroups(size_t, const gid_t *);
  return PORTICO_CALL(setgroups(count, groups));
}
static inline int64_t linux_change_owner(const char *path, uid_t user, gid_t group) {
  return PORTICO_CALL(chown(path, user, group));
}
static inline unsigned linux_umask(unsigned mask) { return umask(mask); }
static inline int64_t linux_chmod(const char *path, unsigned mode) { return PORTICO_CALL(chmod(path, mode)); }

// --- paths ---------------------------------------------------------------------------------------

static inline int64_t linux_working_folder(char *buffer, size_t count) {
  return getcwd(buffer, count) ? 0 : -(int64_t)errno;
}
// Calls `visit` with each path that matches, in order. The number of paths, or -errno.
static inline int64_t linux_glob(const char *pattern, void *state, void (*visit)(void *, const char *)) {
  glob_t found;
  int r = glob(pattern, 0, NULL, &found);
  if (r == GLOB_NOMATCH) return 0;
  if (r != 0) return r == GLOB_NOSPACE ? -(int64_t)ENOMEM : -(int64_t)EIO;
  for (size_t i = 0; i < found.gl_pathc; i++) visit(state, found.gl_pathv[i]);
  int64_t count = (int64_t)found.gl_pathc;
  globfree(&found);
  return count;
}

// --- waiting -------------------------------------------------------------------------------------

static inline void linux_send_timeout(int socket, int ms) {
  struct timeval t = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}
static inline void linux_receive_timeout(int socket, int ms) {
  struct timeval t = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}
static inline void linux_pause_ms(int ms) {
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}
// A blocking local socket: what the command line waits for an answer on.
static inline int64_t linux_blocking_socket(int family) { return PORTICO_CALL(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

// --- names ---------------------------------------------------------------------------------------

// Writes the addresses of a host that this machine can use (of a family that an interface has) as text,
// one a line; how many bytes, or 0. Asks the system: waits.
static inline int64_t linux_host_addresses(const char *host, char *text, size_t capacity) {
  struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
  if (getaddrinfo(host, NULL, &wanted, &list) != 0) return 0;
  size_t length = 0;
  for (struct addrinfo *each = list; each; each = each->ai_next) {
    const void *address = each->ai_family == AF_INET6
                              ? (const void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr
                              : (const void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr;
    char one[INET6_ADDRSTRLEN + 1];
    if (inet_ntop(each->ai_family, address, one, sizeof one) == NULL) continue;
    size_t count = strlen(one);
    if (length + count + 1 > capacity) break;
    memcpy(text + length, one, count);
    text[length + count] = '\n';
    length += count + 1;
  }
  freeaddrinfo(list);
  return (int64_t)length;
}

// Connects a blocking socket to a name or address, trying each address in turn; sends and receives
// then give up after `ms`. -EADDRNOTAVAIL when the name has no address.
static inline int64_t linux_connect_name(const char *host, const char *port, int ms) {
  struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *list = NULL;
  if (getaddrinfo(host, port, &wanted, &list) != 0) return -(int64_t)EADDRNOTAVAIL;
  int64_t result = -(int64_t)EADDRNOTAVAIL;
  for (struct addrinfo *each = list; each; each = each->ai_next) {
    int64_t fd = linux_blocking_socket(each->ai_family);
    if (fd < 0) { result = fd; continue; }
    linux_send_timeout((int)fd, ms);
    linux_receive_timeout((int)fd, ms);
    result = PORTICO_CALL(connect((int)fd, each->ai_addr, each->ai_addrlen));
    if (result >= 0) { result = fd; break; }
    close((int)fd);
  }
  freeaddrinfo(list);
  return result;
}

// Linux system calls for Swift: each returns its value, or -errno, so that Swift never reads errno.
#pragma once
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Swift's own view of the C library is made without _GNU_SOURCE, and two views of one struct can't
// meet in a program: what that macro would have declared is declared here.
extern int accept4(int, struct sockaddr *restrict, socklen_t *restrict, int);
extern int memfd_create(const char *, unsigned);
extern long syscall(long, ...);
#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif
#ifndef O_PATH
#define O_PATH 010000000
#endif
#ifndef F_SETPIPE_SZ
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#endif

#define PORTICO_CALL(expression) ({ int64_t r_ = (int64_t)(expression); r_ < 0 ? -(int64_t)errno : r_; })

// --- epoll ---------------------------------------------------------------------------------------

static inline int64_t linux_epoll_create(void) { return PORTICO_CALL(epoll_create1(EPOLL_CLOEXEC)); }

static inline int64_t linux_epoll_add(int poller, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data = {.u64 = data}};
  return PORTICO_CALL(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
}
static inline int64_t linux_epoll_modify(int poller, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data = {.u64 = data}};
  return PORTICO_CALL(epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event));
}
static inline int64_t linux_epoll_remove(int poller, int fd) {
  struct epoll_event event = {0};
  return PORTICO_CALL(epoll_ctl(poller, EPOLL_CTL_DEL, fd, &event));
}
static inline int64_t linux_epoll_wait(int poller, struct epoll_event *events, int count, int ms) {
  return PORTICO_CALL(syscall(SYS_epoll_pwait, poller, events, count, ms, NULL, (size_t)8));
}
static const uint32_t LINUX_EPOLL_IN = EPOLLIN, LINUX_EPOLL_OUT = EPOLLOUT, LINUX_EPOLL_ERR = EPOLLERR,
                      LINUX_EPOLL_HUP = EPOLLHUP, LINUX_EPOLL_RDHUP = EPOLLRDHUP,
                      LINUX_EPOLL_ET = EPOLLET, LINUX_EPOLL_EXCLUSIVE = EPOLLEXCLUSIVE;

// --- memory --------------------------------------------------------------------------------------

// Private zeroed pages, which cost nothing until they are written to; NULL if there are none.
static inline void *linux_map_pages(size_t byte_count) {
  void *start = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return start == MAP_FAILED ? NULL : start;
}

// --- sockets -------------------------------------------------------------------------------------

static inline int64_t linux_socket(int family, int type, int protocol) {
  return PORTICO_CALL(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}
static inline int64_t linux_stream_socket(int family) {
  return PORTICO_CALL(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
static inline int64_t linux_bind(int fd, const void *address, socklen_t length) {
  return PORTICO_CALL(bind(fd, (const struct sockaddr *)address, length));
}
static inline int64_t linux_connect(int fd, const void *address, socklen_t length) {
  return PORTICO_CALL(connect(fd, (const struct sockaddr *)address, length));
}
static inline int64_t linux_listen(int fd, int backlog) { return PORTICO_CALL(listen(fd, backlog)); }
static inline int64_t linux_accept(int fd, void *address, socklen_t *length) {
  return PORTICO_CALL(accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
static inline int64_t linux_local_address(int fd, void *address, socklen_t *length) {
  return PORTICO_CALL(getsockname(fd, (struct sockaddr *)address, length));
}
// The calls of the data path go past glibc's wrappers, which are points of cancellation and cost two
// atomic operations each in a process with threads. Nobody cancels threads here.
static inline int64_t linux_recv(int fd, void *buffer, size_t count) {
  return PORTICO_CALL(syscall(SYS_recvfrom, fd, buffer, count, 0, NULL, NULL));
}
static inline int64_t linux_peek(int fd, void *buffer, size_t count) {
  return PORTICO_CALL(recv(fd, buffer, count, MSG_PEEK | MSG_DONTWAIT));
}
static inline int64_t linux_send(int fd, const void *buffer, size_t count, int more) {
  return PORTICO_CALL(
    syscall(SYS_sendto, fd, buffer, count, MSG_NOSIGNAL | (more ? MSG_MORE : 0), NULL, 0));
}
static inline int64_t linux_send_vector(int fd, struct iovec *vector, size_t count, int more) {
  struct msghdr message = {.msg_iov = vector, .msg_iovlen = count};
  return PORTICO_CALL(
    syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}
// A socket for datagrams that reports, with the next send, that an earlier one was refused.
static inline int64_t linux_datagram_socket(int family) {
  int64_t fd = linux_socket(family, SOCK_DGRAM, 0);
  int on = 1;
  if (fd >= 0 && family == AF_INET) setsockopt((int)fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  if (fd >= 0 && family == AF_INET6) setsockopt((int)fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  return fd;
}
// One datagram of two parts.
static inline int64_t linux_send_datagram(
  int fd, const void *address, socklen_t length, const void *head, size_t head_count,
  const void *body, size_t body_count) {
  struct iovec parts[2] = {{(void *)head, head_count}, {(void *)body, body_count}};
  struct msghdr message = {
    .msg_name = (void *)address, .msg_namelen = length, .msg_iov = parts, .msg_iovlen = 2};
  int64_t result;
  do result = PORTICO_CALL(syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
  while (result == -EINTR);
  return result;
}
// Empties the queue of errors of a socket for datagrams, and forgets the pending one.
static inline int linux_drop_datagram_errors(int fd) {
  char byte;
  int dropped = 0;
  for (; dropped < 64; dropped++) {
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (syscall(SYS_recvmsg, fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
  }
  int error;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return dropped;
}
static inline int64_t linux_sendfile(int out, int in, int64_t *offset, size_t count) {
  off_t position = *offset;
  int64_t sent = PORTICO_CALL(sendfile(out, in, &position, count));
  *offset = position;
  return sent;
}
static inline int64_t linux_shutdown_write(int fd) { return PORTICO_CALL(shutdown(fd, SHUT_WR)); }
static inline int64_t linux_shutdown_both(int fd) { return PORTICO_CALL(shutdown(fd, SHUT_RDWR)); }
static inline int64_t linux_set_option(int fd, int level, int option, int value) {
  return PORTICO_CALL(setsockopt(fd, level, option, &value, sizeof value));
}
static inline int64_t linux_get_option(int fd, int level, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  int64_t r = PORTICO_CALL(getsockopt(fd, level, option, &value, &length));
  return r < 0 ? r : value;
}
/* What the peer's kernel has not acknowledged of what was sent, in bytes (tcp(7), SIOCOUTQ). */
static inline int64_t linux_unacknowledged(int fd) {
  int count = 0;
  int64_t result = PORTICO_CALL(ioctl(fd, TIOCOUTQ, &count));
  return result < 0 ? result : count;
}

static inline int64_t linux_reset_on_close(int fd) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  return PORTICO_CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}
static inline int64_t linux_tcp_info(int fd, struct tcp_info *info) {
  socklen_t length = sizeof *info;
  return PORTICO_CALL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length));
}
static inline int64_t linux_socketpair(int type, int *pair) {
  return PORTICO_CALL(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair));
}

// Sends `count` bytes with `fd_count` descriptors (SCM_RIGHTS) on a local socket.
static inline int64_t linux_send_descriptors(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count) {
  union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int) * 253)]; } control;
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (fd_count > 253) return -EINVAL;
  if (fd_count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
  }
  return PORTICO_CALL(sendmsg(socket, &message, MSG_NOSIGNAL));
}
// Receives up to `count` bytes and up to 253 descriptors; `*fd_count` says how many came.
static inline int64_t linux_receive_descriptors(int socket, void *bytes, size_t count, int *fds, size_t *fd_count) {
  union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int) * 253)]; } control;
  struct iovec vector = {.iov_base = bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
  *fd_count = 0;
  int64_t received = PORTICO_CALL(recvmsg(socket, &message, MSG_CMSG_CLOEXEC));
  if (received < 0) return received;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      memcpy(fds + *fd_count, CMSG_DATA(header), n * sizeof(int));
      *fd_count += n;
    }
  }
  return received;
}

// --- files ---------------------------------------------------------------------------------------

static inline int64_t linux_open(const char *path, int flags, unsigned mode) {
  return PORTICO_CALL(open(path, flags | O_CLOEXEC, mode));
}
static inline int64_t linux_open_temporary(const char *folder) {
  return PORTICO_CALL(open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}
static inline int64_t linux_close(int fd) { return PORTICO_CALL(close(fd)); }
static inline int64_t linux_read(int fd, void *buffer, size_t count) { return PORTICO_CALL(read(fd, buffer, count)); }
static inline int64_t linux_pread(int fd, void *buffer, size_t count, int64_t offset) {
  return PORTICO_CALL(pread(fd, buffer, count, offset));
}
static inline int64_t linux_write(int fd, const void *buffer, size_t count) {
  return PORTICO_CALL(write(fd, buffer, count));
}
static inline int64_t linux_pwrite(int fd, const void *buffer, size_t count, int64_t offset) {
  return PORTICO_CALL(pwrite(fd, buffer, count, offset));
}
// A lock of an open file, which its last descriptor gives up.
static inline int64_t linux_flock(int fd, int operation) { return PORTICO_CALL(flock(fd, operation)); }
// Memory of zeros that takes no room before it is written; NULL if there is none.
static inline void *linux_map(size_t count) {
  void *memory = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}
static inline void linux_unmap(void *memory, size_t count) { munmap(memory, count); }
static inline int64_t linux_stat(const char *path, struct stat *result) { return PORTICO_CALL(stat(path, result)); }
static inline int64_t linux_stat_at(int folder, const char *name, struct stat *result) {
  return PORTICO_CALL(fstatat(folder, name, result, AT_SYMLINK_NOFOLLOW));
}
static inline int64_t linux_open_at(int folder, const char *name, int flags, int follows) {
  return PORTICO_CALL(openat(folder, name, flags | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW), 0));
}
// A descriptor that only names a file: opening it needs no right to read it.
static inline int64_t linux_open_name_at(int folder, const char *name, int is_folder, int follows) {
  return linux_open_at(folder, name, O_PATH | (is_folder ? O_DIRECTORY : 0), follows);
}
// `result` has room for PATH_MAX bytes.
static inline int64_t linux_real_path(const char *path, char *result) {
  return realpath(path, result) ? (int64_t)strlen(result) : -(int64_t)errno;
}
// Takes an open folder over; NULL if it is none.
static inline void *linux_folder(int fd) { return fdopendir(fd); }
static inline void linux_folder_close(void *folder) { closedir((DIR *)folder); }
// The name of the next entry, good until the one after it; NULL behind the last. With the entry's
// status, its link followed if it `follows` (or else of the link itself); `found` is 0 if there is none.
static inline const char *linux_folder_next(void *folder, int follows, struct stat *status, int *found) {
  struct dirent *entry = readdir((DIR *)folder);
  if (!entry) return NULL;
  int fd = dirfd((DIR *)folder);
  *found = (follows && fstatat(fd, entry->d_name, status, 0) == 0)
      || fstatat(fd, entry->d_name, status, AT_SYMLINK_NOFOLLOW) == 0;
  return entry->d_name;
}
static inline int64_t linux_fstat(int fd, struct stat *result) { return PORTICO_CALL(fstat(fd, result)); }
static inline int64_t linux_unlink(const char *path) { return PORTICO_CALL(unlink(path)); }
static inline int64_t linux_rename(const char *from, const char *to) { return PORTICO_CALL(rename(from, to)); }
// Gives a file that was opened without a name (O_TMPFILE) one, which must be free.
static inline int64_t linux_link_open(int fd, const char *path) {
  char source[32];
  snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
  return PORTICO_CALL(linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
}
static inline int64_t linux_set_mode(int fd, unsigned mode) { return PORTICO_CALL(fchmod(fd, mode)); }
// Sets when a file was modified, in seconds.
static inline int64_t linux_set_modified(int fd, int64_t seconds) {
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};
  return PORTICO_CALL(futimens(fd, times));
}
static inline int64_t linux_mkdir(const char *path, unsigned mode) { return PORTICO_CALL(mkdir(path, mode)); }
static inline int64_t linux_readlink(const char *path, char *buffer, size_t count) {
  return PORTICO_CALL(readlink(path, buffer, count));
}
// How many bytes of the file system at `path` a process without privileges may still use.
static inline int64_t linux_free_byte_count(const char *path) {
  struct statvfs status;
  if (statvfs(path, &status) != 0) return -(int64_t)errno;
  return (int64_t)((uint64_t)status.f_bavail * status.f_frsize);
}
// Gives memory that is free in the heap back to the system. Takes milliseconds for a large heap.
static inline void linux_trim_heap(void) { malloc_trim(0); }
static inline int64_t linux_memfd(const char *name) { return PORTICO_CALL(memfd_create(name, MFD_CLOEXEC)); }
static inline int64_t linux_lseek(int fd, int64_t offset, int whence) { return PORTICO_CALL(lseek(fd, offset, whence)); }
static inline int64_t linux_set_close_on_exec(int fd, int on) {
  return PORTICO_CALL(fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0));
}
static inline int64_t linux_duplicate(int fd) { return PORTICO_CALL(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
static inline int64_t linux_duplicate_onto(int fd, int target) { return PORTICO_CALL(dup2(fd, target)); }
static inline int64_t linux_eventfd(void) { return PORTICO_CALL(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
static inline int linux_is_directory(const struct stat *s) { return S_ISDIR(s->st_mode); }
static inline int linux_is_link(const struct stat *s) { return S_ISLNK(s->st_mode); }
static inline int linux_is_regular(const struct stat *s) { return S_ISREG(s->st_mode); }
static inline int linux_is_fifo(const struct stat *s) { return S_ISFIFO(s->st_mode); }
static inline int linux_is_character_device(const struct stat *s) { return S_ISCHR(s->st_mode); }
static inline int linux_is_socket(const struct stat *s) { return S_ISSOCK(s->st_mode); }
// Asks for a pipe that holds at least `count` bytes; /proc/sys/fs/pipe-max-size bounds it for a
// process without privileges.
static inline int64_t linux_grow_pipe(int fd, int count) {
  int now = fcntl(fd, F_GETPIPE_SZ);
  return now < 0 || now >= count ? 0 : PORTICO_CALL(fcntl(fd, F_SETPIPE_SZ, count));
}

// --- time, processes, signals --------------------------------------------------------------------

static inline uint64_t linux_monotonic_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static inline uint64_t linux_wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static inline int64_t linux_zone_offset_seconds(int64_t seconds) {
  time_t t = (time_t)seconds;
  struct tm local;
  localtime_r(&t, &local);
  return local.tm_gmtoff;
}
/* `seconds` in the form `format` of strftime(3); how many bytes that took, 0: they didn't fit. "%s"
   alone is the number itself: strftime(3) computes it from the parts, which it takes for local time. */
static inline int64_t linux_format_time(char *out, int64_t room, const char *format, int64_t seconds, int local) {
  time_t t = (time_t)seconds;
  struct tm parts;
  if (!strcmp(format, "%s")) {
    int count = snprintf(out, (size_t)room, "%lld", (long long)seconds);
    return count < room ? count : 0;
  }
  if (local) localtime_r(&t, &parts); else gmtime_r(&t, &parts);
  return (int64_t)strftime(out, (size_t)room, format, &parts);
}
static inline int64_t linux_pid(void) { return getpid(); }
static inline int64_t linux_tid(void) { return syscall(SYS_gettid); }
static inline int64_t linux_kill(int pid, int signal) { return PORTICO_CALL(kill(pid, signal)); }
static inline int64_t linux_wait_any(int *status) { return PORTICO_CALL(waitpid(-1, status, WNOHANG)); }
static inline int linux_status_code(int status) { return WEXITSTATUS(status); }
static inline int linux_status_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
static inline int64_t linux_signalfd(const sigset_t *set) {
  return PORTICO_CALL(signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK));
}
static inline void linux_ignore_signal(int signal_number) { signal(signal_number, SIG_IGN); }
static inline int linux_error_text(int code, char *buffer, size_t count) {
  return strerror_r(code, buffer, count);
}
static inline int64_t linux_fork(void) { return PORTICO_CALL(fork()); }
static inline char **linux_environment(void) { extern char **environ; return environ; }
static inline int64_t linux_set_descriptor_limit(uint64_t count) {
  struct rlimit limit = {.rlim_cur = count, .rlim_max = count};
  struct rlimit old;
  if (getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_max > count) limit.rlim_max = old.rlim_max;
  return PORTICO_CALL(setrlimit(RLIMIT_NOFILE, &limit));
}
static inline int64_t linux_descriptor_limit(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int64_t)limit.rlim_cur : 1024;
}
static inline int64_t linux_setgid(gid_t group) { return PORTICO_CALL(setgid(group)); }
static inline int64_t linux_setuid(uid_t user) { return PORTICO_CALL(setuid(user)); }
static inline int64_t linux_geteuid(void) { return geteuid(); }
static inline int64_t linux_processor_count(void) { return sysconf(_SC_NPROCESSORS_ONLN); }

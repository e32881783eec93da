// The application behind every peer: answers each request from memory, with 100 KiB when its path is
// /body. It must cost little, since it shares a processor with the load generator: a server that isn't
// kept busy goes to sleep between two requests, and what that costs would be booked to it.
//
// usage: upstream PORT
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMostDescriptors = 16384, kMostEvents = 512, kBodyBytes = 100 << 10 };

// What has been seen of a connection's request: how many bytes of its start, whether they are
// `kBodyRequest` so far, how many bytes of the empty line that ends it.
static struct request {
  size_t start_bytes, end_bytes;
  int is_body;
} requests[kMostDescriptors];

static const char kBodyRequest[] = "GET /body ", kEnd[] = "\r\n\r\n";

// A head and a body in one piece.
struct answer {
  char *bytes;
  size_t count;
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct answer make_answer(const char *body, size_t count) {
  char head[256];
  int head_bytes = snprintf(head, sizeof head,
                            "HTTP/1.1 200 OK\r\nServer: application\r\n"
                            "Date: Wed, 25 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
                            "Content-Length: %zu\r\nConnection: keep-alive\r\n\r\n",
                            count);
  struct answer answer = {malloc((size_t)head_bytes + count), (size_t)head_bytes + count};
  if (!answer.bytes) fail("malloc");
  memcpy(answer.bytes, head, (size_t)head_bytes);
  memcpy(answer.bytes + head_bytes, body, count);
  return answer;
}

// Whether `byte` ends the request.
static int takes(struct request *request, char byte) {
  size_t start = request->start_bytes++;
  if (start < sizeof kBodyRequest - 1) request->is_body &= byte == kBodyRequest[start];
  request->end_bytes = byte == kEnd[request->end_bytes] ? request->end_bytes + 1 : byte == '\r';
  return request->end_bytes == sizeof kEnd - 1;
}

static void begin(struct request *request) { *request = (struct request){.is_body = 1}; }

// Sends all of an answer; blocks when the receiver is slow. Returns whether that worked.
static int send_all(int fd, struct answer answer) {
  for (size_t sent = 0; sent < answer.count;) {
    ssize_t count = send(fd, answer.bytes + sent, answer.count - sent, MSG_NOSIGNAL);
    if (count < 0) return 0;
    sent += (size_t)count;
  }
  return 1;
}

static void serve(int fd, struct answer small, struct answer large) {
  static char buffer[64 << 10];
  ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) {
    close(fd);
    return;
  }
  struct request *request = &requests[fd];
  for (ssize_t i = 0; i < count; i++) {
    if (!takes(request, buffer[i])) continue;
    int is_sent = send_all(fd, request->is_body ? large : small);
    begin(request);
    if (!is_sent) {
      close(fd);
      return;
    }
  }
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void accept_connections(int epoll, int listener) {
  for (int fd, on = 1; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
    if (fd >= kMostDescriptors) fail("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    begin(&requests[fd]);
    watch(epoll, fd);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: upstream PORT\n"), 1;
  static char body[kBodyBytes];
  for (size_t i = 0; i < sizeof body; i++) body[i] = "0123456789abcdef"[i % 16];
  static const char kText[] = "a small answer of an application\n";
  struct answer small = make_answer(kText, sizeof kText - 1), large = make_answer(body, sizeof body);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  static struct epoll_event events[kMostEvents];
  for (;;) {
    int count = epoll_wait(epoll, events, kMostEvents, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener) accept_connections(epoll, listener);
      else serve(events[i].data.fd, small, large);
    }
  }
}

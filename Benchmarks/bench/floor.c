// What a proxy can't be cheaper than: bytes passed between each client and a connection of its own to
// the upstream, by the system calls that every proxy of HTTP/1.1 makes (one receive and one send each
// way), without a look at them. One thread, no limits, no time-outs: a yardstick, not a server.
//
// usage: floor LISTEN-PORT UPSTREAM-PORT
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMostDescriptors = 4096, kMostEvents = 512, kBufferBytes = 256 << 10 };

// The other end of each descriptor's pair; 0: none.
static int other_end[kMostDescriptors];

static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(port)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int epoll, int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void accept_clients(int epoll, int listener, const struct sockaddr_in *upstream) {
  for (int client; (client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || server >= kMostDescriptors || client >= kMostDescriptors) fail("socket");
    if (connect(server, (const struct sockaddr *)upstream, sizeof *upstream) < 0) fail("connect");
    other_end[client] = server;
    other_end[server] = client;
    watch(epoll, client);
    watch(epoll, server);
  }
}

static void part(int fd) {
  int other = other_end[fd];
  other_end[fd] = other_end[other] = 0;
  close(fd);
  close(other);
}

// Blocks when the receiver is slow, which for a load generator on this machine it isn't.
static void forward(int fd, char *buffer) {
  for (;;) {
    ssize_t count = recv(fd, buffer, kBufferBytes, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return part(fd);
    for (ssize_t sent = 0; sent < count;) {
      ssize_t part_sent = send(other_end[fd], buffer + sent, (size_t)(count - sent), MSG_NOSIGNAL);
      if (part_sent < 0) return part(fd);
      sent += part_sent;
    }
    // A receive that was shorter than its room emptied the socket.
    if (count < kBufferBytes) return;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: floor LISTEN-PORT UPSTREAM-PORT\n"), 1;
  struct sockaddr_in address = loopback(argv[1]), upstream = loopback(argv[2]);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 511) < 0) fail("listen");
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll_ctl");
  static struct epoll_event events[kMostEvents];
  static char buffer[kBufferBytes];
  for (;;) {
    int count = epoll_wait(epoll, events, kMostEvents, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) accept_clients(epoll, listener, &upstream);
      else if (other_end[fd]) forward(fd, buffer);
    }
  }
}

// Logs to syslog: datagrams as a receiver gets them, receivers that go and come back, and what is
// wrong with parameters.

import Foundation
import TestSupport
import Testing

/// A receiver of datagrams inside the test.
private final class SyslogReceiver {
  private let descriptor: Int32
  private(set) var port: UInt16 = 0

  /// Over UDP on a port of 127.0.0.1 that the kernel chose.
  init() {
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    port = bindLoopback(descriptor)
    limitWaiting()
  }

  /// At a Unix socket, which is made.
  init(path: String) {
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    unlink(path)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    precondition(result == 0)
    chmod(path, 0o777)
    limitWaiting()
  }

  deinit { close(descriptor) }

  private func limitWaiting() {
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// The next datagram; empty if none comes.
  func next() -> String {
    var bytes = [UInt8](repeating: 0, count: 70_000)
    let count = recv(descriptor, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }
}

@Suite struct SyslogTests {
  private func start(_ locations: String) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          log_format line $uri;
          log_format long $arg_a$arg_a$arg_a$arg_a$arg_a$arg_a$arg_a$arg_a$arg_a$arg_a;
          large_client_header_buffers 4 32k;
          server { listen 127.0.0.1:%%PORT_0%%; \(locations) }
        }
        """)
  }

  @Test func writesTheDatagramsOfNginx() async throws {
    let receiver = SyslogReceiver()
    let server = "syslog:server=127.0.0.1:\(receiver.port)"
    let door = try await start(
      """
      location /a { access_log \(server) line; access_log \(server),tag=two_2 line; return 200; }
      location /b { access_log \(server),facility=user,severity=alert,nohostname line; return 200; }
      location /e { access_log off; error_log \(server),facility=mail; root %%DIR%%; }
      """)
    _ = try door.get("/a")
    let time = "[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
    #expect(receiver.next().contains(try Regex("^<190>\(time) [^ ]+ nginx: /a$")))
    #expect(receiver.next().contains(try Regex("^<190>\(time) [^ ]+ two_2: /a$")))
    _ = try door.get("/b")
    #expect(receiver.next().contains(try Regex("^<9>\(time) nginx: /b$")))
    _ = try door.get("/e")
    let error = receiver.next()
    #expect(
      error.contains(try Regex("^<19>\(time) [^ ]+ nginx: [0-9/]+ [0-9:]+ .error. [^\n]+$")),
      "\(error)")
    try door.stop()
  }

  @Test func cutsALineToOneDatagram() async throws {
    let receiver = SyslogReceiver()
    let door = try await start(
      "access_log syslog:server=127.0.0.1:\(receiver.port) long; return 200;")
    _ = try door.get("/?a=" + String(repeating: "x", count: 9000))
    #expect(receiver.next().utf8.count == 65_507)
    try door.stop()
  }

  @Test func findsAUnixReceiverThatComesBack() async throws {
    let folder = try Site(config: "")
    let path = folder.folder + "s"
    let door = try await start("access_log syslog:server=unix:\(path) line; return 200;")
    _ = try door.get("/lost")
    try door.waitForLog("1 line to syslog server \"unix:\(path)\" lost")
    for name in ["/one", "/two"] {
      // Each is another socket of the same name, as after a restart.
      let receiver = SyslogReceiver(path: path)
      _ = try door.get(name)
      #expect(receiver.next().hasSuffix("nginx: \(name)"))
    }
    try door.stop()
  }

  @Test func reloadsChangeReceiversAndKeepDescriptors() async throws {
    let receivers = [SyslogReceiver(), SyslogReceiver()]
    func config(_ index: Int) -> String {
      """
      error_log syslog:server=127.0.0.1:\(receivers[index].port) notice;
      http { log_format line $uri; server { listen 127.0.0.1:%%PORT_0%%;
        access_log syslog:server=127.0.0.1:\(receivers[index].port),tag=access line;
        return 200; } }
      """
    }
    let door = try await Portico.start(config: config(0), globals: "pid %%DIR%%/portico.pid;")
    func access(_ index: Int, _ name: String) throws {
      _ = try door.get(name)
      for _ in 0..<200 {
        let line = receivers[index].next()
        if line.hasSuffix("access: \(name)") { return }
        // Lines of the supervisor come too.
        #expect(line.contains(" nginx: "))
        if line.isEmpty { break }
      }
      Issue.record("\(name) was not logged")
    }
    func descriptors() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/\(door.pid)/fd").count
    }
    try access(0, "/a")
    #expect(try door.reload(config: config(1)).code == 0)
    try access(1, "/b")
    let before = try descriptors()
    for round in 0..<10 { #expect(try door.reload(config: config(round & 1)).code == 0) }
    // Those of a command's connection are closed when it has ended.
    try waitUntil("descriptors to be closed") { try descriptors() <= before }
    try access(1, "/c")
    try door.stop()
  }

  @Test(arguments: [
    ("", "no syslog server specified"), ("server=127.0.0.1,facility=locl0", "did you mean"),
    ("server=127.0.0.1,facility=x9", "it must be one of kern, user"),
    ("server=127.0.0.1,severity=bad9", "unknown syslog severity \"bad9\""),
    ("server=127.0.0.1,tag=a-b", "letters, digits and underscores"),
    ("server=127.0.0.1,tag=aaaaaaaaaabbbbbbbbbbccccccccccddd", "at most 32 characters, not 33"),
    ("server=127.0.0.1,tag=a,tag=b", "duplicate syslog \"tag\""),
    ("server=127.0.0.1,nohost", "unknown syslog parameter \"nohost\""),
    ("server=127.0.0.1:0", "is no address of a syslog server"),
    ("server=unix:", "is no address of a syslog server"),
    ("server=name.invalid", "host not found in syslog server"),
    ("server=127.0.0.1 combined buffer=1k", "logs to syslog can't be buffered"),
    ("server=127.0.0.1 combined gzip", "logs to syslog can't be buffered"),
  ])
  func refuses(parameters: String, problem: String) throws {
    let text = parameters.isEmpty ? "tag=a" : parameters
    let site = try Site(config: "http { access_log syslog:\(text); }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains(problem), "\(result.standardError)")
    #expect(result.standardError.contains("portico.conf:1:"), "\(result.standardError)")
  }
}

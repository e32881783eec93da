// What runs out: descriptors, connections, the disk, the right to write a log. Each is answered,
// and passes without a trace when there is enough again.

import Foundation
import Testing

/// Processor time that a process has used, in ticks of 10 ms.
private func ticks(_ process: Int32) throws -> Int {
  let stat = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
  let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
  return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
}

/// How many connections to a port wait to be accepted.
private func acceptQueueLength(_ port: UInt16) -> Int {
  // Line by line: Foundation takes the first part of such a file for all of it.
  guard let table = fopen("/proc/net/tcp", "r") else { return 0 }
  defer { fclose(table) }
  var line = [CChar](repeating: 0, count: 512)
  while fgets(&line, Int32(line.count), table) != nil {
    let text = String(
      decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = text.split(separator: " ")
    // 0A is the state of a socket that listens, whose queue is that of connections.
    guard fields.count > 4, fields[1].hasSuffix(String(format: ":%04X", Int(port))),
      fields[3] == "0A"
    else { continue }
    return Int(fields[4].split(separator: ":")[1], radix: 16) ?? 0
  }
  return 0
}

/// A file system of `kilobytes`, mounted for the life of this.
private final class SmallDisk {
  let path: String

  /// Nil where mounting is not permitted.
  init?(kilobytes: Int, at path: String) {
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(kilobytes)k") == 0 else { return nil }
    self.path = path
  }

  deinit { umount2(path, Int32(MNT_DETACH)) }
}

/// A connection to 127.0.0.1 that is begun, and may take its time. Whoever uses it closes it.
private struct Connecting {
  let descriptor: Int32

  init(port: UInt16) {
    descriptor = socket(
      AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | O_CLOEXEC, 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    withUnsafeBytes(of: address) { bytes in
      _ = connect(
        descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!,
        socklen_t(bytes.count))
    }
  }

  /// Whether the connection is there, without an error.
  func isConnected(within seconds: Double) -> Bool {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&waiting, 1, Int32(seconds * 1000)) > 0 else { return false }
    var error: Int32 = 0
    var length = socklen_t(4)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    if error != 0 { return false }
    _ = fcntl(descriptor, F_SETFL, 0)
    return true
  }
}

/// A client whose connection is in use, for as long as the last byte of its body is missing.
private func busyClient(_ door: RunningPortico) throws -> RawClient {
  let client = try door.client()
  try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
  return client
}

@Suite struct LimitsTests {
  @Test func pausesAcceptingWhenNoDescriptorIsLeft() async throws {
    let door = try await Portico.start(
      config: """
        worker_rlimit_nofile 64;
        http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "ok"; } }
        """)
    let worker = try door.workerPid
    var clients: [RawClient] = []
    for _ in 0..<100 { clients.append(try busyClient(door)) }
    try door.waitForLog("accept4() failed (24: Too many open files)")
    // The event that can't be served isn't looked at over and over.
    let before = try ticks(worker)
    usleep(700_000)
    #expect(try ticks(worker) - before < 30)
    // Those that are in are served.
    #expect(try clients[0].response().text == "ok")
    clients.removeFirst(90)
    for client in clients { #expect(try client.response().text == "ok") }
    clients.removeAll()
    #expect(try door.get().text == "ok")
    #expect(try door.workerPid == worker)
    // It pauses for half a second each time, and says so once a minute.
    #expect(door.errorLog.components(separatedBy: "accept4() failed").count == 2)
    try door.stop()
  }

  @Test func clientsWaitWhenTheAcceptQueueIsFull() async throws {
    let door = try await Portico.start(
      config: """
        events { worker_connections 4; }
        http { server { listen 127.0.0.1:%%PORT_0%% backlog=2; return 200 "ok"; } }
        """)
    var served = try (0..<4).map { _ in try busyClient(door) }
    #expect(try served[3].response().text == "ok")
    // The queue takes three more; the kernel ignores the rest, whose clients ask again after a
    // second.
    let waiting = (0..<8).map { _ in Connecting(port: door.port()) }
    try door.waitForLog("worker_connections are not enough")
    try waitUntil("a full queue") { acceptQueueLength(door.port()) == 3 }
    served.removeAll()
    // None was refused or reset.
    for client in waiting {
      #expect(client.isConnected(within: patience))
      let client = RawClient(descriptor: client.descriptor)
      try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(try client.response().text == "ok")
    }
    try door.stop()
  }

  @Test func pausesAcceptingWhenWorkerConnectionsAreUsedUp() async throws {
    let door = try await Portico.start(
      config: """
        events { worker_connections 8; }
        http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "ok"; } }
        """)
    var clients = try (0..<20).map { _ in try busyClient(door) }
    try door.waitForLog("worker_connections are not enough")
    #expect(try clients[0].response().text == "ok")
    clients.removeFirst(15)
    for client in clients { #expect(try client.response().text == "ok") }
    try door.stop()
  }

  @Test func answersWhatItCanWhenTheDiskIsFull() async throws {
    let site = try Site(config: "")
    let disk = SmallDisk(kilobytes: 256, at: site.folder + "disk")
    guard let disk else {
      print("skipped: a full disk needs the right to mount a file system")
      return
    }
    let upstream = RawServer()
    try site.write(
      "portico.conf",
      """
      http { server {
        listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
        client_max_body_size 0; client_body_temp_path \(disk.path); proxy_temp_path \(disk.path);
        location / { proxy_pass http://\(upstream.address); }
      } }
      """)
    let door = try await Portico.start(site)
    // A response goes on at the client's pace, in order.
    let body = (0..<12 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) }
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    let sender = Thread {
      try? server.send(
        "HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\nConnection: close\r\n\r\n")
      try? server.send(body)
    }
    sender.start()
    try door.waitForLog(
      "writing a response to a temporary file failed (28: No space left on device)")
    #expect(try client.response().body == body)
    // A request body that finds no place is refused.
    let upload = try door.client()
    try upload.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    try? upload.send([UInt8](repeating: 65, count: 1_000_000))
    #expect(try upload.response().status == 507)
    #expect(door.errorLog.contains("(28: No space left on device)"))
    // The place is free again: nothing was left behind.
    let small = try door.client()
    try small.send("PUT /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    try small.send([UInt8](repeating: 65, count: 100_000))
    let next = try upstream.accept()
    #expect(try next.read(until: "\r\n\r\n").hasPrefix("PUT /small "))
    #expect(try next.read(count: 100_000).count == 100_000)
    try next.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try small.response().text == "ok")
    try waitUntil("the body to be removed") {
      try FileManager.default.contentsOfDirectory(atPath: disk.path).isEmpty
    }
    try door.stop()
  }

  @Test func servesOnWhenItsLogsAreFull() async throws {
    let site = try Site(config: "")
    let disk = SmallDisk(kilobytes: 16, at: site.folder + "disk")
    guard let disk else {
      print("skipped: a full disk needs the right to mount a file system")
      return
    }
    try site.write(
      "portico.conf",
      """
      http {
        access_log \(disk.path)/access.log;
        server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%; return 200 "ok"; }
        server {
          listen 127.0.0.1:%%PORT_0%%;
          server_name computed;
          root %%DIR%%;
          access_log \(disk.path)/$arg_log.log;
          return 200 "ok";
        }
      }
      """)
    let door = try await Portico.start(site)
    let client = try door.client()
    for _ in 0..<300 {
      try client.send("GET /\(String(repeating: "x", count: 200)) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == "ok")
    }
    try door.waitForLog("access.log\" were lost, it can't be written")
    // Logs of their own names share the count.
    try client.send("GET /?log=once HTTP/1.1\r\nHost: computed\r\n\r\n")
    #expect(try client.response().text == "ok")
    try door.waitForLog("1 lines of \"\(disk.path)/once.log\" were lost, it can't be written")
    // Lines are whole lines again when there is room.
    #expect(truncate(disk.path + "/access.log", 0) == 0)
    try client.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "ok")
    try waitUntil("a line in the log") { site.text("disk/access.log").contains("GET /after ") }
    try door.stop()
  }

  /// A FIFO that nobody reads is refused, not waited for: by a start, USR1 and a reload.
  @Test func waitsForNoReaderOfALog() async throws {
    let config = """
      http {
        access_log LOG;
        server { listen 127.0.0.1:%%PORT_0%%; return 200 "ok"; }
      }
      """
    let site = try Site(config: config.replacingOccurrences(of: "LOG", with: "%%DIR%%/fifo"))
    #expect(mkfifo(site.folder + "fifo", 0o666) == 0)
    let refused = try Portico.run(site, [])
    #expect(refused.code == 1 && refused.standardError.contains("nobody reads that pipe"))
    try site.write("portico.conf", config.replacingOccurrences(of: "LOG", with: "%%DIR%%/log"))
    let door = try await Portico.start(site)
    // In a file's place it leaves the log where it was.
    #expect(rename(site.folder + "log", site.folder + "old") == 0)
    #expect(mkfifo(site.folder + "log", 0o666) == 0)
    try door.signal(SIGUSR1)
    try door.waitForLog("log\" failed (6: No such device or address)")
    #expect(try door.get("/").text == "ok")
    try waitUntil("a line in the log") { site.text("old").contains("GET / ") }
    try site.write(
      "portico.conf", config.replacingOccurrences(of: "LOG", with: "%%DIR%%/fifo"))
    let reload = try door.send("reload")
    #expect(reload.code == 1 && reload.standardError.contains("No such device or address"))
    #expect(try door.get("/").text == "ok")
    // One whose reader is being restarted is no reason to refuse.
    let reader = open(site.folder + "fifo", O_RDONLY | O_NONBLOCK)
    #expect(try door.send("reload").code == 0)
    close(reader)
    let again = try door.send("reload")
    #expect(again.code == 0, "\(again.standardError)")
    let next = open(site.folder + "fifo", O_RDONLY | O_NONBLOCK)
    defer { close(next) }
    #expect(try door.get("/next").text == "ok")
    try waitUntil("a line in the pipe") {
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = read(next, &bytes, bytes.count)
      return count > 0 && String(decoding: bytes[..<count], as: UTF8.self).contains("GET /next ")
    }
    try door.stop()
  }

  /// Whoever reads the log has stopped reading (`docker logs` on a full disk, a terminal after
  /// Ctrl-S, a journal that hangs): lines are lost, requests and the end don't wait.
  @Test(arguments: StoppedReader.Kind.allCases)
  func waitsForNoReaderThatStopped(_ kind: StoppedReader.Kind) async throws {
    let site = try Site(config: "")
    let reader = try StoppedReader(kind, folder: site.folder)
    try site.write(
      "portico.conf",
      """
      http {
        access_log \(reader.logName);
        large_client_header_buffers 4 16k;
        server { listen 127.0.0.1:%%PORT_0%%; return 200 "ok"; }
      }
      """)
    let door = try await Portico.start(site, under: reader.command)
    let client = try door.client()
    // More than a pipe's 1 MiB and what sockets and terminals hold.
    let path = "/" + String(repeating: "x", count: 12_000)
    for _ in 0..<150 {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == "ok")
    }
    try door.waitForLog("\" were lost, it can't be written")
    #expect(try door.stop(SIGTERM) == 0)
  }

  @Test func namesALogThatItCannotOpen() async throws {
    let site = try Site(
      config: """
        http {
          access_log %%DIR%%/portico.conf/access.log;
          server { listen 127.0.0.1:%%PORT_0%%; return 200 "ok"; }
        }
        """)
    let finished = try Portico.run(site, [])
    #expect(finished.code == 1)
    #expect(finished.standardError.contains("portico.conf/access.log"))
    #expect(finished.standardError.contains("Not a directory"))
    // For a running server it is a reload that is refused.
    let fine = "http { server { listen 127.0.0.1:%%PORT_0%%; return 200 \"ok\"; } }"
    let door = try await Portico.start(config: fine)
    let broken = fine.replacingOccurrences(
      of: "return", with: "access_log %%DIR%%/portico.conf/x; return")
    #expect(try door.reload(config: broken).code == 1)
    #expect(try door.get().text == "ok")
    try door.stop()
  }
}

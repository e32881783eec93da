// A client that sends exactly the bytes it is told and reads with deadlines: what no real client
// does can be said to portico too.

import Foundation

/// A connection to a port or a Unix socket.
final class RawClient: @unchecked Sendable {
  let descriptor: Int32
  private var buffer: [UInt8] = []

  /// What went wrong with a connection.
  enum Failure: Error, Equatable {
    case connect(Int32)
    case closed(received: String)
    case timedOut(received: String)
    case reset(Int32)
    case malformed(String)
  }

  /// Connects to 127.0.0.1. With `receiveRoom` the kernel takes about as many bytes as that before
  /// they are read.
  init(port: UInt16, receiveRoom: Int32? = nil) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    if var receiveRoom { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveRoom, 4) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    try connect(address)
  }

  /// Connects to a Unix socket.
  init(path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    try connect(address)
  }

  /// Takes a connection over.
  init(descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  private func connect<Address>(_ address: Address) throws {
    let result = withUnsafeBytes(of: address) { bytes in
      Glibc.connect(
        descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!,
        socklen_t(bytes.count))
    }
    if result != 0 { throw Failure.connect(errno) }
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var offset = 0
    while offset < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(
          descriptor, $0.baseAddress! + offset, $0.count - offset, Int32(MSG_NOSIGNAL))
      }
      if count < 0 { throw Failure.reset(errno) }
      offset += count
    }
  }

  /// Whether the kernel takes more bytes at the moment.
  var hasRoom: Bool {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&waiting, 1, 0) > 0
  }

  /// Says that nothing more comes.
  func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Makes the end of this client a reset.
  func reset() {
    resetAtClose()
    shutdown(descriptor, Int32(SHUT_RDWR))
  }

  /// Lets the kernel reset the connection when this client is given up.
  func resetAtClose() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }

  /// What came up to and including `text`.
  func read(until text: String, within seconds: Double = patience) throws -> String {
    let wanted = Array(text.utf8)
    let deadline = Deadline(in: seconds)
    while true {
      if let end = firstIndex(of: wanted, in: buffer) {
        return String(decoding: take(end + wanted.count), as: UTF8.self)
      }
      try more(deadline)
    }
  }

  /// The next `count` bytes.
  func read(count: Int, within seconds: Double = patience) throws -> [UInt8] {
    let deadline = Deadline(in: seconds)
    while buffer.count < count { try more(deadline) }
    return take(count)
  }

  /// The next `count` bytes, which stay to be read.
  func peek(count: Int, within seconds: Double = patience) throws -> ArraySlice<UInt8> {
    let deadline = Deadline(in: seconds)
    while buffer.count < count { try more(deadline) }
    return buffer[..<count]
  }

  /// Everything up to the end of the connection.
  func readToEnd(within seconds: Double = patience) throws -> [UInt8] {
    let deadline = Deadline(in: seconds)
    do {
      while true { try more(deadline) }
    } catch Failure.closed {
      return take(buffer.count)
    }
  }

  /// The same, where a reset is as good an end as another.
  func readToEndOrReset(within seconds: Double = patience) throws -> [UInt8] {
    do { return try readToEnd(within: seconds) } catch Failure.reset { return takeBuffered() }
  }

  /// What was received already and is not read yet.
  func takeBuffered() -> [UInt8] { take(buffer.count) }

  /// Whether the other side closes (or resets) without another byte.
  func isClosed(within seconds: Double = patience) -> Bool {
    do {
      try more(Deadline(in: seconds))
      return false
    } catch Failure.timedOut {
      return false
    } catch {
      return buffer.isEmpty
    }
  }

  /// One whole response, 1xx responses left out.
  func response(to method: String = "GET", within seconds: Double = patience) throws -> Response {
    while true {
      let head = try read(until: "\r\n\r\n", within: seconds)
      var response = try Response(head: head)
      if (100..<200).contains(response.status) && response.status != 101 { continue }
      if method == "HEAD" || [101, 204, 304].contains(response.status) { return response }
      if response["transfer-encoding"]?.lowercased() == "chunked" {
        response.body = try chunkedBody(within: seconds, &response)
      } else if let length = response["content-length"].flatMap({ Int($0) }) {
        response.body = try read(count: length, within: seconds)
      } else {
        response.body = try readToEnd(within: seconds)
      }
      return response
    }
  }

  private func chunkedBody(within seconds: Double, _ response: inout Response) throws -> [UInt8] {
    var body: [UInt8] = []
    while true {
      let line = try read(until: "\r\n", within: seconds).dropLast()
      guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16) else {
        throw Failure.malformed("chunk size \(line)")
      }
      if size == 0 { break }
      body += try read(count: size, within: seconds)
      guard try read(count: 2, within: seconds) == [13, 10] else {
        throw Failure.malformed("end of chunk")
      }
    }
    while true {
      let line = try read(until: "\r\n", within: seconds)
      if line == "\r\n" { return body }
      response.trailers.append(line.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }

  private func take(_ count: Int) -> [UInt8] {
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  /// Waits for more bytes.
  private func more(_ deadline: Deadline) throws {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let received = String(decoding: buffer.prefix(500), as: UTF8.self)
    guard poll(&waiting, 1, deadline.millisecondsLeft) > 0 else {
      throw Failure.timedOut(received: received)
    }
    var piece = [UInt8](repeating: 0, count: 65_536)
    let count = recv(descriptor, &piece, piece.count, 0)
    if count < 0 { throw Failure.reset(errno) }
    if count == 0 { throw Failure.closed(received: received) }
    buffer += piece[..<count]
  }
}

/// Where `wanted` begins in `bytes`.
func firstIndex(of wanted: [UInt8], in bytes: [UInt8]) -> Int? {
  guard bytes.count >= wanted.count, let first = wanted.first else { return nil }
  for start in 0...(bytes.count - wanted.count) where bytes[start] == first {
    if bytes[start..<start + wanted.count].elementsEqual(wanted) { return start }
  }
  return nil
}

/// A response as it came.
struct Response {
  let version: String
  let status: Int
  let reason: String
  /// In the order in which they came.
  let fields: [(name: String, value: String)]
  var body: [UInt8] = []
  var trailers: [String] = []

  init(head: String) throws {
    let lines = head.components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard words.count >= 2, let status = Int(words[1]) else {
      throw RawClient.Failure.malformed(lines[0])
    }
    version = String(words[0])
    self.status = status
    reason = words.count > 2 ? String(words[2]) : ""
    fields = lines.dropFirst().filter { !$0.isEmpty }.map { line in
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      return (
        String(parts[0]), parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
      )
    }
  }

  var text: String { String(decoding: body, as: UTF8.self) }

  /// The first field of a name, whatever its case.
  subscript(name: String) -> String? {
    fields.first { $0.name.lowercased() == name.lowercased() }?.value
  }

  /// All fields of a name.
  func all(_ name: String) -> [String] {
    fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
  }
}

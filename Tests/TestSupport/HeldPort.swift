// Ports of 127.0.0.1 that are a test's own for as long as it wants them.
//
// A port that was asked for, closed and used later may be somebody else's by then: another test's
// that asks for one, or the local end of any outgoing connection. So a port is held by a socket
// that is bound to it and doesn't listen. The kernel gives it to nobody who asks for any port, and
// connections to it are refused, until a process that was told its number listens there: with
// SO_REUSEADDR, which portico, Go, Python's servers and PostgreSQL set, both may be bound.

import Foundation

/// There were not so many free ports in a row.
public struct NoFreePorts: Error { let count: Int }

/// A port of 127.0.0.1 that the kernel chose and gives to nobody else while this lives.
public final class HeldPort: Sendable {
  public let number: UInt16
  private let descriptor: Int32

  public init() {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    allowReuse(descriptor)
    number = bindLoopback(descriptor)
  }

  /// The port `number`, unless somebody has it.
  private init?(_ number: UInt16) {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    allowReuse(descriptor)
    self.number = number
    if tryBindLoopback(descriptor, number) == nil {
      close(descriptor)
      return nil
    }
  }

  /// `count` ports that follow each other.
  public static func row(_ count: Int) throws -> [HeldPort] {
    for _ in 0..<1000 {
      var row = [HeldPort()]
      while row.count < count, let next = HeldPort(row[0].number &+ UInt16(row.count)) {
        row.append(next)
      }
      if row.count == count { return row }
    }
    throw NoFreePorts(count: count)
  }

  deinit { close(descriptor) }

  /// A socket that listens at the port; whoever has it closes it. With `receiveRoom` the kernel
  /// takes about as many bytes of a connection as that before they are read.
  public func listen(receiveRoom: Int32? = nil) -> Int32 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    if var receiveRoom { setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receiveRoom, 4) }
    allowReuse(listener)
    bindLoopback(listener, number)
    precondition(Glibc.listen(listener, 128) == 0, "listen() failed: \(errno)")
    return listener
  }
}

private func allowReuse(_ descriptor: Int32) {
  var on: Int32 = 1
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
}

/// Binds to `port` of 127.0.0.1, 0 being any that the kernel chooses; gives the one it is.
@discardableResult
public func bindLoopback(_ descriptor: Int32, _ port: UInt16 = 0) -> UInt16 {
  guard let number = tryBindLoopback(descriptor, port) else {
    preconditionFailure("no port \(port): \(errno)")
  }
  return number
}

/// The same; nil if it can't be had.
private func tryBindLoopback(_ descriptor: Int32, _ port: UInt16) -> UInt16? {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  return withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
      guard bind(descriptor, pointer, length) == 0 else { return nil }
      getsockname(descriptor, pointer, &length)
      return UInt16(bigEndian: UnsafeRawPointer(pointer).load(fromByteOffset: 2, as: UInt16.self))
    }
  }
}

// Socket addresses: what the kernel is given, and what it gives, mean the same as what they were made of.

import CLinux
import HTTP
import Testing

@testable import Engine

@Suite struct SocketAddressTests {
  /// `address` as the kernel would give it back.
  private func throughKernelForm(_ address: SocketAddress) -> SocketAddress {
    address.withSockaddr { start, length in
      var raw = sockaddr_storage()
      unsafe withUnsafeMutableBytes(of: &raw) {
        unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: start, count: Int(length)))
      }
      return SocketAddress(raw, length: length)
    }
  }

  /// `address` as the kernel is given it.
  private func bytes(_ address: SocketAddress) -> [UInt8] {
    address.withSockaddr { start, length in
      unsafe Array(UnsafeRawBufferPointer(start: start, count: Int(length)))
    }
  }

  @Test(arguments: [
    "127.0.0.1", "255.254.253.252", "0.0.0.0", "::1", "2001:db8::ffff", "::", "::ffff:10.0.0.1",
  ])
  func goesToTheKernelAndBack(_ literal: String) throws {
    let address = try #require(SocketAddress(literal: literal, port: 0x1234))
    let back = throughKernelForm(address)
    #expect(back == address)
    #expect(back.host == literal)
    #expect(back.port == 0x1234)
    #expect(back.isWildcard == (literal == "0.0.0.0" || literal == "::"))
  }

  @Test func kernelFormIsTheOneOfTheNetwork() throws {
    let four = try #require(SocketAddress(literal: "1.2.3.4", port: 0x5678))
    let fourBytes = bytes(four)
    #expect(fourBytes.count == 16)
    #expect(Array(fourBytes[2..<8]) == [0x56, 0x78, 1, 2, 3, 4])
    let six = try #require(SocketAddress(literal: "102:304::f", port: 0x5678))
    let sixBytes = bytes(six)
    #expect(sixBytes.count == 28)
    #expect(Array(sixBytes[2..<4]) == [0x56, 0x78])
    #expect(Array(sixBytes[8..<24]) == [1, 2, 3, 4] + [UInt8](repeating: 0, count: 11) + [0xf])
  }

  @Test(arguments: ["/run/app.sock", "/" + String(repeating: "x", count: 106)])
  func pathsGoToTheKernelAndBack(_ path: String) throws {
    let address = try #require(SocketAddress(unixPath: path))
    let back = throughKernelForm(address)
    #expect(back == address)
    #expect(back.unixPath == path)
    #expect(back.host == "unix:")
    #expect(back.description == "unix:\(path)")
    #expect(back.port == 0)
  }

  @Test func refusesAPathThatTheKernelHasNoRoomFor() {
    #expect(SocketAddress(unixPath: String(repeating: "x", count: 108)) == nil)
  }

  @Test func clientsOfUnixSocketsHaveNoName() {
    var raw = sockaddr_storage()
    raw.ss_family = sa_family_t(AF_UNIX)
    let peer = SocketAddress(raw, length: socklen_t(MemoryLayout<sa_family_t>.size))
    #expect(peer.isUnix)
    #expect(peer.unixPath.isEmpty)
    #expect(peer.host == "unix:")
  }

  @Test func pathsThatAreNotUTF8StayWithinTheirRoom() {
    var raw = sockaddr_storage()
    raw.ss_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &raw) { for index in 2..<110 { unsafe $0[index] = 0xff } }
    let address = SocketAddress(raw, length: 110)
    #expect(address.withSockaddr { _, length in length } == 110)
  }

  @Test func whatIsNoAddressIsEmpty() {
    var raw = sockaddr_storage()
    raw.ss_family = sa_family_t(AF_NETLINK)
    let address = SocketAddress(raw, length: 12)
    #expect(address == SocketAddress())
    #expect(address.family == 0)
    #expect(address.description == "-")
    #expect(address.withSockaddr { _, length in length } == 0)
  }

  @Test func differsByAddressAndPortAndKind() throws {
    let one = try #require(SocketAddress(literal: "10.0.0.1", port: 80))
    #expect(one != SocketAddress(literal: "10.0.0.1", port: 81))
    #expect(one != SocketAddress(literal: "10.0.0.2", port: 80))
    #expect(one != SocketAddress(literal: "::ffff:10.0.0.1", port: 80))
    #expect(one != SocketAddress(unixPath: "10.0.0.1:80"))
  }

  // Every connection of a client keeps one.
  @Test func isSmall() { #expect(MemoryLayout<SocketAddress>.size <= 24) }
}

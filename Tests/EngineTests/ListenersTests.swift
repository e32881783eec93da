// Listening sockets by difference: what stays is the same socket, what goes is closed, what can't
// be had leaves everything as it was.

import CLinux
import TestSupport
import Testing

@testable import Engine

@Suite struct ListenersTests {
  private func settings(_ port: HeldPort, reusePort: Bool = false) throws -> ListenSettings {
    var settings = ListenSettings(
      address: try #require(SocketAddress(literal: "127.0.0.1", port: port.number)))
    settings.reusePort = reusePort
    return settings
  }

  private func table(_ old: Listeners, _ wanted: [ListenSettings], workers: Int = 1) throws
    -> Listeners
  {
    try old.next(for: wanted, workerCount: workers) { _ in true }
  }

  /// Whether a descriptor listens at a port of this test's: tests that run beside it take the
  /// numbers that it closes, for listeners of their own.
  private func listens(_ fd: Int32, at port: HeldPort) -> Bool {
    linux_get_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1
      && Socket.localAddress(fd).port == port.number
  }

  @Test func keepsWhatStaysAndClosesWhatGoes() throws {
    let (first, second) = (HeldPort(), HeldPort())
    let one = try table(Listeners(), [settings(first), settings(second)])
    let stays = try #require(one.table[.init(address: "127.0.0.1:\(first.number)", index: 0)])
    let goes = try #require(one.table[.init(address: "127.0.0.1:\(second.number)", index: 0)])
    let two = try table(one, [settings(first)])
    #expect(two.table.values.map(\.id) == [stays.id])
    one.close(except: two)
    #expect(listens(stays.fd, at: first))
    #expect(!listens(goes.fd, at: second))
    two.close(except: nil)
    #expect(!listens(stays.fd, at: first))
  }

  @Test func opensASocketForEachWorkerWithReuseport() throws {
    let port = HeldPort()
    let one = try table(Listeners(), [settings(port)])
    let three = try table(one, [settings(port, reusePort: true)], workers: 3)
    #expect(three.table.count == 3)
    #expect(Set(three.table.keys.map(\.index)) == [0, 1, 2])
    one.close(except: three)
    let again = try table(three, [settings(port)], workers: 3)
    three.close(except: again)
    #expect(again.table.values.map(\.id) == one.table.values.map(\.id))
    again.close(except: nil)
  }

  @Test func neverGivesANumberTwice() throws {
    var seen: Set<UInt64> = []
    var current = Listeners()
    for _ in 0..<10 {
      let next = try table(current, [settings(HeldPort())])
      current.close(except: next)
      current = next
      for listener in next.table.values { #expect(seen.insert(listener.id).inserted) }
    }
    current.close(except: nil)
  }

  @Test func leavesEverythingAsItWasWhenAnAddressCannotBeHad() throws {
    let port = HeldPort()
    let one = try table(Listeners(), [settings(port)])
    // No machine has this address: it is kept for documentation.
    let foreign = ListenSettings(
      address: try #require(SocketAddress(literal: "192.0.2.1", port: 80)))
    let added = HeldPort()
    do {
      _ = try table(one, [settings(port), settings(added), foreign])
      Issue.record("bound to a foreign address")
    } catch let failure as ListenerFailure {
      #expect(
        failure.problems == [
          "bind() to 192.0.2.1:80 failed (99: Cannot assign requested address)"
        ])
    }
    #expect(one.table.values.allSatisfy { listens($0.fd, at: port) })
    _ = linux_close(try ListenerSockets.open(settings(added)))
    one.close(except: nil)
  }

  @Test func adoptsSocketsOfAnOlderBinary() throws {
    let port = HeldPort()
    let old = try table(Listeners(), [settings(port, reusePort: true)], workers: 2)
    let descriptors = try old.table.values.map { Int32(try check(linux_duplicate($0.fd))) }
    old.close(except: nil)
    let adopted = Listeners(adopting: descriptors)
    let new = try table(adopted, [settings(port, reusePort: true)], workers: 2)
    #expect(Set(new.table.values.map(\.fd)) == Set(descriptors))
    adopted.closeLeavingPaths(except: new)
    #expect(new.table.values.allSatisfy { listens($0.fd, at: port) })
    new.close(except: nil)
  }
}

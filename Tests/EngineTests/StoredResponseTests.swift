// Files of a cache that somebody reads while somebody writes.

import CLinux
import HTTP
import Testing

@testable import Engine

@Suite struct StoredResponseTests {
  private static let key = CacheKey(high: 1, low: 2)

  /// The file at `path`, as it is read by `Bytes("a")`.
  private static func open(_ path: String, _ arena: inout Arena) -> StoredResponse.Outcome {
    "a".withBytes { StoredResponse.open(path, key, $0, &arena) }
  }

  /// Stores an empty response in `path`.
  private func store(_ path: String, _ arena: inout Arena) {
    var header = CacheFileHeader(
      key: arena.copy("a"), vary: Bytes(), head: arena.copy("HTTP/1.1 200 OK\r\n\r\n"))
    header.digest = Self.key
    header.status = 200
    let room = arena.allocate(header.count)
    header.write(into: room)
    let fd = Int32(unsafe linux_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600))
    #expect(unsafe linux_write(fd, room.unsafeBase, room.count) == Int64(room.count))
    _ = linux_close(fd)
  }

  /// What the file at `path` says; nil if it isn't sound.
  private func freshUntil(_ path: String, _ arena: inout Arena) -> Int? {
    guard case .sound(let stored) = Self.open(path, &arena) else { return nil }
    return stored.header.freshUntil
  }

  @Test func isRenewedWhenNobodyElseWrites() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/entry"
    var arena = Arena(pool: BufferPool())
    store(path, &arena)
    guard case .sound(let stored) = Self.open(path, &arena) else {
      Issue.record("not found sound")
      return
    }
    let fd = Int32(unsafe linux_open(path, O_WRONLY, 0))
    defer { _ = linux_close(fd) }
    #expect(linux_flock(fd, LOCK_EX) == 0)
    stored.renew(&arena) { $0.freshUntil = 7 }
    #expect(freshUntil(path, &arena) == 0)
    #expect(linux_flock(fd, LOCK_UN) == 0)
    stored.renew(&arena) { $0.freshUntil = 7 }
    #expect(freshUntil(path, &arena) == 7)
    // The lock was given up.
    #expect(linux_flock(fd, LOCK_EX | LOCK_NB) == 0)
  }

  @Test func whatIsDamagedIsFoundOutAlthoughNobodyWrites() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/entry"
    var arena = Arena(pool: BufferPool())
    store(path, &arena)
    let fd = Int32(unsafe linux_open(path, O_WRONLY, 0))
    defer { _ = linux_close(fd) }
    #expect(unsafe linux_pwrite(fd, "x", 1, 40) == 1)
    // Somebody who writes may be the reason.
    #expect(linux_flock(fd, LOCK_EX) == 0)
    guard case .changing = Self.open(path, &arena) else {
      Issue.record("taken for damaged")
      return
    }
    #expect(linux_flock(fd, LOCK_UN) == 0)
    guard case .unsound("is damaged") = Self.open(path, &arena) else {
      Issue.record("not taken for damaged")
      return
    }
  }
}

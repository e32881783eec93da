// Opening files: what can be opened, validators, who closes, what the cache remembers and forgets.

import CLinux
import Foundation
import HTTP
import Testing

@testable import Engine

struct OpenFileCacheTests {
  let folder: TemporaryFolder
  let pool = CachedFilePool()
  let policy = OpenFilePolicy(valid: 1_000, minUses: 1, keepsErrors: true)

  init() throws { folder = try TemporaryFolder() }

  @Test func opensARegularFileAndClosesItAfterItsLastUser() throws {
    folder.write("hello", to: "a.txt")
    let cache = OpenFileCache(max: 0, inactive: 0, pool: pool)
    let file = try #require(open("a.txt", cache))
    #expect(file.size == 5)
    #expect(file.content == nil)
    #expect(file.inode != 0)
    let fd = file.fd
    #expect(folder.holds(fd))
    file.retain()
    file.release()
    #expect(folder.holds(fd))
    file.release()
    #expect(!folder.holds(fd))
    let again = try #require(open("a.txt", cache))
    #expect(again === file)
    again.release()
  }

  @Test func writesTheValidatorsOfNginx() throws {
    folder.write(String(repeating: "x", count: 300), to: "a")
    folder.setModified(1_700_000_000, of: "a")
    let cache = OpenFileCache(max: 0, inactive: 0, pool: pool)
    let file = try #require(open("a", cache))
    #expect(file.etag.string == "\"6553f100-12c\"")
    #expect(file.lastModified.string == "Tue, 14 Nov 2023 22:13:20 GMT")
    #expect(file.modified == 1_700_000_000)
    file.release()
  }

  @Test(arguments: [
    ("missing", ENOENT), ("missing/x", ENOENT), ("a/x", ENOTDIR), ("a\0.txt", EINVAL),
    ("fifo", ENOENT), ("loop", ELOOP),
  ])
  func saysWhyItCannotOpen(name: String, code: Int32) {
    folder.write("", to: "a")
    _ = unsafe mkfifo(folder.path + "/fifo", 0o644)
    _ = unsafe symlink("loop", folder.path + "/loop")
    for max in [0, 10] {
      let cache = OpenFileCache(max: max, inactive: 60_000, pool: pool)
      #expect(failure(name, cache) == code)
      #expect(test(name, cache) == .failed(SystemError(code: code)))
    }
  }

  @Test func refusesEmptyAndTooLongPaths() {
    let cache = OpenFileCache(max: 0, inactive: 0, pool: pool)
    let empty = cache.open(path: Bytes(), policy: policy, now: 0)
    let long = String(repeating: "/x", count: 2_048).withBytes {
      cache.open(path: $0, policy: policy, now: 0)
    }
    guard case .failed(let noName) = empty, case .failed(let tooLong) = long else {
      Issue.record("opened")
      return
    }
    #expect(noName.code == ENOENT)
    #expect(tooLong.code == ENAMETOOLONG)
  }

  @Test func tellsDirectoriesAndFilesApart() {
    folder.write("", to: "a")
    for max in [0, 10] {
      let cache = OpenFileCache(max: max, inactive: 60_000, pool: pool)
      #expect(failure(".", cache) == nil && open(".", cache) == nil)
      #expect(test(".", cache) == .directory)
      #expect(test("a", cache) == .file)
    }
  }

  @Test func keepsAFileOpenAndAsksTheDiskOnlyWhenStale() throws {
    folder.write("one", to: "a")
    let cache = OpenFileCache(max: 10, inactive: 60_000, pool: pool)
    let first = try #require(open("a", cache, now: 0))
    first.release()
    #expect(first.isCached && folder.holds(first.fd))
    folder.replace("a", with: "three")
    let fresh = try #require(open("a", cache, now: 999))
    #expect(fresh === first && fresh.size == 3)
    let stale = try #require(open("a", cache, now: 1_000))
    #expect(stale !== first && stale.size == 5)
    // The old one stays open for its user.
    #expect(folder.holds(first.fd) && !first.isCached)
    let fd = first.fd
    fresh.release()
    #expect(!folder.holds(fd))
    stale.release()
  }

  @Test func noticesAFileThatIsGoneOrBecameADirectoryOrComesBack() throws {
    folder.write("one", to: "a")
    let cache = OpenFileCache(max: 10, inactive: 60_000, pool: pool)
    let fd = try #require(open("a", cache, now: 0)).fd
    #expect(test("a", cache, now: 1) == .file)
    _ = linux_unlink(folder.path + "/a")
    #expect(test("a", cache, now: 999) == .file)
    #expect(test("a", cache, now: 1_000) == .failed(SystemError(code: ENOENT)))
    _ = linux_mkdir(folder.path + "/a", 0o755)
    #expect(test("a", cache, now: 1_999) == .failed(SystemError(code: ENOENT)))
    #expect(test("a", cache, now: 2_000) == .directory)
    #expect(folder.holds(fd), "its user hasn't released it")
    _ = unsafe rmdir(folder.path + "/a")
    folder.write("new", to: "a")
    #expect(test("a", cache, now: 3_000) == .file)
  }

  @Test func remembersErrorsOnlyWhenAskedTo() {
    let cache = OpenFileCache(max: 10, inactive: 60_000, pool: pool)
    let forgetful = OpenFilePolicy(valid: 1_000, minUses: 1, keepsErrors: false)
    #expect(test("a", cache, policy: forgetful) == .failed(SystemError(code: ENOENT)))
    #expect(cache.count == 0)
    #expect(test("a", cache) == .failed(SystemError(code: ENOENT)))
    #expect(cache.count == 1)
    folder.write("", to: "a")
    #expect(test("a", cache) == .failed(SystemError(code: ENOENT)))
    #expect(test("a", cache, policy: forgetful) == .file)
  }

  @Test func keepsAFileOnlyAfterEnoughUses() throws {
    folder.write("one", to: "a")
    let cache = OpenFileCache(max: 10, inactive: 60_000, pool: pool)
    let twice = OpenFilePolicy(valid: 1_000, minUses: 2, keepsErrors: false)
    let first = try #require(open("a", cache, policy: twice))
    let fd = first.fd
    first.release()
    #expect(!folder.holds(fd) && cache.count == 1)
    let second = try #require(open("a", cache, policy: twice))
    second.release()
    #expect(second.isCached && folder.holds(second.fd))
  }

  @Test func forgetsTheLeastRecentlyUsedAndTheInactive() throws {
    for name in ["a", "b", "c"] { folder.write(name, to: name) }
    let cache = OpenFileCache(max: 2, inactive: 5_000, pool: pool)
    let a = try #require(open("a", cache, now: 0))
    let b = try #require(open("b", cache, now: 1))
    a.release()
    b.release()
    try #require(open("a", cache, now: 2)).release()
    try #require(open("c", cache, now: 3)).release()
    #expect(cache.count == 2 && a.isCached && !b.isCached)
    try #require(open("c", cache, now: 5_003)).release()
    #expect(cache.count == 1 && !a.isCached)
    cache.removeAll()
    #expect(cache.count == 0)
  }

  @Test func keepsTheContentOfSmallFilesThatHaveComeToRest() throws {
    folder.write("small", to: "small")
    folder.setModified(1_700_000_000, of: "small")
    folder.write("", to: "empty")
    folder.setModified(1_700_000_000, of: "empty")
    folder.write(String(repeating: "x", count: 16_385), to: "large")
    folder.setModified(1_700_000_000, of: "large")
    folder.write("just written", to: "recent")
    folder.setModified(Clock.wall / 1000 + 60, of: "recent")
    let cache = OpenFileCache(max: 10, inactive: 60_000, pool: pool)
    let expected = ["small": "small", "empty": "", "large": nil, "recent": nil]
    for (name, content) in expected {
      let file = try #require(open(name, cache))
      #expect(file.content?.string == content, "\(name)")
      file.release()
    }
    // Content is of the file that was opened; when the file changes, so does the object.
    folder.replace("small", with: "other")
    folder.setModified(Clock.wall / 1000 + 60, of: "small")
    let old = try #require(open("small", cache, now: 999))
    #expect(old.content?.string == "small")
    old.release()
    let new = try #require(open("small", cache, now: 1_000))
    #expect(new.content == nil)
    new.release()
  }

  @Test func leaksNoDescriptor() throws {
    for number in 0..<50 { folder.write("x", to: "f\(number)") }
    do {
      let cache = OpenFileCache(max: 20, inactive: 60_000, pool: pool)
      for round in 0..<4 {
        for number in 0..<50 {
          let file = try #require(open("f\(number)", cache, now: round * 900 + number))
          if number % 7 == 0 { folder.replace("f\(number)", with: "round \(round)") }
          file.release()
        }
      }
    }
    let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
    let leaked = numbers.compactMap { Int32($0) }.filter { folder.holds($0) }
    #expect(leaked.isEmpty)
  }

  @Test func findsEachOfManyPathsAfterManyWereForgotten() {
    var entries = OpenFileEntries(max: 64)
    for number in 0..<5_000 {
      if entries.count == 500, let oldest = entries.oldestIndex { entries.remove(oldest) }
      _ = "/path/\(number)".withBytes { entries.insert($0) }
    }
    for number in 0..<5_000 {
      let isFound = "/path/\(number)".withBytes { entries.find($0) != nil }
      #expect(isFound == (number >= 4_500))
    }
  }
}

extension OpenFileCacheTests {
  private func lookup(
    _ name: String, _ cache: OpenFileCache, _ policy: OpenFilePolicy?, _ now: Int
  ) -> FileLookup {
    (folder.path + "/" + name).withBytes {
      cache.open(path: $0, policy: policy ?? self.policy, now: now)
    }
  }

  private func open(
    _ name: String, _ cache: OpenFileCache, policy: OpenFilePolicy? = nil, now: Int = 0
  ) -> CachedFile? {
    if case .file(let file) = lookup(name, cache, policy, now) { file } else { nil }
  }

  private func failure(_ name: String, _ cache: OpenFileCache) -> Int32? {
    if case .failed(let error) = lookup(name, cache, nil, 0) { error.code } else { nil }
  }

  private func test(
    _ name: String, _ cache: OpenFileCache, policy: OpenFilePolicy? = nil, now: Int = 0
  ) -> FilePresence {
    (folder.path + "/" + name).withBytes {
      cache.test(path: $0, policy: policy ?? self.policy, now: now)
    }
  }

}

extension TemporaryFolder {
  /// Puts a new file in the place of an old one, as editors and deployments do.
  func replace(_ name: String, with text: String) {
    write(text, to: name + ".new")
    _ = linux_rename(path + "/" + name + ".new", path + "/" + name)
  }

  /// Sets when a file was modified, in seconds since 1970.
  func setModified(_ seconds: Int, of name: String) {
    let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
    _ = unsafe utimensat(AT_FDCWD, path + "/" + name, times, 0)
  }
}

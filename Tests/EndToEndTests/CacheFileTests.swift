// The files of a cache: where they lie, and what one has to be to be believed.

import Foundation
import Testing

@Suite struct CacheFileTests {
  @Test func aFileLiesAtTheDigestOfItsKey() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, path: "levels=1:2", server: "proxy_cache_valid 1h; proxy_cache_key abc;")
    #expect(try cache.get("/") == "MISS / 1")
    // MD5 of "abc".
    let file = "2/f7/900150983cd24fb0d6963f7d28e17f72"
    #expect(cache.files == [file])
    let mode = try FileManager.default.attributesOfItem(atPath: cache.path(file))
    #expect(mode[.posixPermissions] as? Int == 0o600)
    #expect(try cache.get("/other") == "HIT / 1")
    try cache.door.stop()
  }

  @Test(arguments: ["/%00", "/..%2f..%2f..%2fetc%2fpasswd", "/%0d%0aX: y", "/\u{e4}", "/%ff"])
  func aKeyIsAnyBytesAndNoPath(path: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app, server: "proxy_cache_valid 1h; proxy_cache_key $uri;")
    let first = try cache.door.get(path)
    let second = try cache.door.get(path)
    if first.status == 200 {
      #expect(first["X-Cache"] == "MISS" && second["X-Cache"] == "HIT")
      #expect(cache.files.count == 1 && cache.files.first?.count == 32)
    } else {
      #expect(first.status == 400 && cache.files.isEmpty)
    }
    try cache.door.stop()
  }

  @Test func aKeyThatIsTooLongStoresNothing() async throws {
    let cache = try await CacheDoor(
      try CountingApp(),
      server: """
        proxy_cache_valid 1h; large_client_header_buffers 4 64k;
        proxy_cache_key $http_long;
        """)
    let long = ["Long": String(repeating: "a", count: 33 << 10)]
    #expect(try cache.get("/a", long) == "- /a 1")
    #expect(try cache.get("/a", long) == "- /a 2")
    #expect(cache.files.isEmpty)
    try cache.door.stop()
  }

  /// Two keys of one digest, or a file that somebody moved: the whole key is compared.
  @Test func aFileOfAnotherKeyIsNotServed() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app, server: "proxy_cache_valid 1h; proxy_cache_key $uri;")
    #expect(try cache.get("/a") == "MISS /a 1")
    let a = try #require(cache.files.first)
    #expect(try cache.get("/b") == "MISS /b 2")
    let b = try #require(cache.files.first { $0 != a })
    try FileManager.default.removeItem(atPath: cache.path(b))
    try FileManager.default.copyItem(atPath: cache.path(a), toPath: cache.path(b))
    chmod(cache.path(b), 0o644)
    #expect(try cache.get("/b") == "MISS /b 3")
    #expect(try cache.get("/b") == "HIT /b 3")
    #expect(cache.door.errorLog.contains("has another key of the same digest"))
    try cache.door.stop()
  }

  @Test(arguments: ["empty", "garbage", "nginx", "cut", "long", "flipped", "folder", "gone"])
  func aFileThatIsNoGoodIsFetchedAnew(kind: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/a") == "MISS /a 1")
    let path = cache.path(try #require(cache.files.first))
    var content = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    switch kind {
    case "empty": content = []
    case "garbage": content = content.map { $0 ^ 0xa5 }
    // The first bytes of a file of nginx: its version as a number.
    case "nginx": content.replaceSubrange(0..<8, with: [5, 0, 0, 0, 0, 0, 0, 0])
    case "cut": content.removeLast()
    case "long": content.append(0)
    case "flipped": content[140] ^= 1
    default: break
    }
    try FileManager.default.removeItem(atPath: path)
    if kind == "folder" {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    } else if kind != "gone" {
      try Data(content).write(to: URL(fileURLWithPath: path))
    }
    #expect(try cache.get("/a") == "MISS /a 2")
    #expect(try cache.get("/a") == (kind == "folder" ? "MISS /a 3" : "HIT /a 2"))
    try cache.door.stop()
  }

  /// Small responses are kept in memory for a moment: never one that was replaced, and none for
  /// long.
  @Test func whatIsKeptInMemoryIsWhatIsStored() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_cache_key $uri; proxy_cache_bypass $arg_anew;",
      main: "worker_processes 3;")
    #expect(try cache.get("/a") == "MISS /a 1")
    for round in 2...6 {
      for _ in 0..<12 { #expect(try cache.get("/a").hasPrefix("HIT")) }
      #expect(try cache.get("/a?anew=1") == "BYPASS /a?anew=1 \(round)")
      for _ in 0..<12 { #expect(try cache.get("/a") == "HIT /a?anew=1 \(round)") }
    }
    let again = try cache.door.get("/a", method: "HEAD")
    #expect(again["X-Cache"] == "HIT" && again.body.isEmpty)
    // A file that somebody removes is missed at once, or a second later.
    for file in cache.files { try FileManager.default.removeItem(atPath: cache.path(file)) }
    try waitUntil("the file to be missed") { try cache.get("/a") == "MISS /a 7" }
    try cache.door.stop()
  }

  @Test func aDiskThatTakesNothingCostsTheFileOnly() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    // Something else is in the folder's place.
    try FileManager.default.removeItem(atPath: cache.path(""))
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "MISS /a 2")
    let lines = cache.door.errorLog.split(separator: "\n").filter {
      $0.contains("the response is not cached")
    }
    #expect(lines.count == 2)
    try cache.door.stop()
  }
}

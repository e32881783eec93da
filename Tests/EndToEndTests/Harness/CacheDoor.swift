// A door that caches, and the application behind it, which numbers its answers.

import Foundation
import Synchronization

/// An application whose every answer is another one: "PATH NUMBER", from 1.
final class CountingApp: Sendable {
  let upstream: TestUpstream
  private let state: State

  private final class State: Sendable {
    let count = Mutex(0)
    let fields = Mutex<[String: String]>([:])
    let next = Mutex<TestUpstream.Answer?>(nil)
  }

  /// - Parameter fields: of each answer, until `set` says otherwise.
  init(_ fields: [String: String] = [:]) throws {
    let state = State()
    state.fields.withLock { $0 = fields }
    self.state = state
    upstream = try TestUpstream { request in
      let number = state.count.withLock { count in
        count += 1
        return count
      }
      if let answer = state.next.withLock({ $0 }) { return answer }
      return .answer(
        fields: state.fields.withLock { $0 },
        body: request.method == "HEAD" ? "" : "\(request.path) \(number)")
    }
  }

  /// How many requests came.
  var count: Int { state.count.withLock { $0 } }
  var last: TestUpstream.Request? { upstream.requests.last }

  func set(_ fields: [String: String]) { state.fields.withLock { $0 = fields } }

  /// What is answered from here on, whatever is asked; nil: numbers again.
  func answer(_ answer: TestUpstream.Answer?) { state.next.withLock { $0 = answer } }
}

/// A door with one cache, in the folder `cache`, and `$upstream_cache_status` in X-Cache.
struct CacheDoor {
  let app: CountingApp
  let door: RunningPortico

  /// - Parameters:
  ///   - path: further parameters of `proxy_cache_path`.
  ///   - server: directives of the server.
  init(
    _ app: CountingApp, path: String = "", server: String = "proxy_cache_valid 1h;",
    main: String = "", locations: String = ""
  ) async throws {
    self.app = app
    door = try await Portico.start(
      config: Self.config(path: path, server: server, main: main, locations: locations),
      upstreams: [app.upstream])
  }

  static func config(
    path: String = "", server: String = "", main: String = "", locations: String = ""
  ) -> String {
    """
    \(main)
    http {
      proxy_cache_path %%DIR%%/cache keys_zone=one:1m \(path);
      server {
        listen 127.0.0.1:%%PORT_0%%;
        add_header X-Cache $upstream_cache_status always;
        proxy_cache one;
        \(server)
        location / { proxy_pass http://%%UPSTREAM_0%%; }
        \(locations)
      }
    }
    """
  }

  /// "STATUS BODY", such as "HIT /a 1".
  func get(_ path: String, _ headers: [String: String] = [:], method: String = "GET") throws
    -> String
  {
    let answer = try door.get(path, headers: headers, method: method)
    return "\(answer["X-Cache"] ?? "-") \(answer.text)"
  }

  /// The files of the cache, below its folder, drafts included.
  var files: [String] {
    let folder = door.site.folder + "cache"
    let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
    var isFolder: ObjCBool = false
    return names.filter {
      FileManager.default.fileExists(atPath: folder + "/" + $0, isDirectory: &isFolder)
        && !isFolder.boolValue
    }.sorted()
  }

  func path(_ file: String) -> String { door.site.folder + "cache/" + file }
}

// Symbolic links in the paths of files: followed by default, refused by `disable_symlinks`.

import Foundation
import Synchronization
import Testing

@Suite struct SymlinkTests {
  private func start(_ cache: String) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          root %%DIR%%/www;
          \(cache)
          location / { }
          location /on/ { disable_symlinks on; alias %%DIR%%/www/; }
          location /owner/ { disable_symlinks if_not_owner; alias %%DIR%%/www/; }
          location /from/ { disable_symlinks on from=$document_root; alias %%DIR%%/link/; }
          location /through/ { disable_symlinks on; alias %%DIR%%/link/; }
          location /trust/ { disable_symlinks on from=%%DIR%%/link; alias %%DIR%%/link/; }
          location /try/ { disable_symlinks on; alias %%DIR%%/www/; try_files $uri /file; }
          location /test/ { disable_symlinks on; if (-f %%DIR%%/www/$arg_f) { return 204; } return 205; }
          location = /index/ { disable_symlinks on; alias %%DIR%%/www/; index inner file; }
          location = /listed/ { disable_symlinks on; alias %%DIR%%/www/; index inner; autoindex on; }
        } }
        """,
      files: [
        "www/file": "file", "www/folder/file": "inner", "foreign": "foreign", "www/other": "other",
      ])
    let www = site.folder + "www/"
    symlink("file", www + "inner")
    symlink("folder", www + "way")
    symlink("../foreign", www + "foreign")
    symlink("www", site.folder + "link")
    symlink("nowhere", www + "broken")
    if getuid() == 0 { chown(site.folder + "foreign", 1, 1) }
    return try await Portico.start(site)
  }

  @Test(arguments: ["", "open_file_cache max=10; open_file_cache_errors on;"])
  func refusesLinksWhereTheLocationSaysSo(cache: String) async throws {
    let door = try await start(cache)
    // As root the owner of a link and of what it leads to can differ.
    let foreign = getuid() == 0 ? 403 : 200
    let rows: [(String, Int)] = [
      ("/file", 200), ("/inner", 200), ("/way/file", 200), ("/foreign", 200), ("/broken", 404),
      ("/on/file", 200), ("/on/inner", 403), ("/on/way/file", 403), ("/on/folder/file", 200),
      ("/on/foreign", 403), ("/on/broken", 403), ("/on/none", 404), ("/on/file/none", 404),
      ("/owner/file", 200), ("/owner/inner", 200), ("/owner/way/file", 200),
      ("/owner/foreign", foreign), ("/owner/broken", 404),
      ("/through/file", 403), ("/trust/file", 200), ("/trust/inner", 403),
      ("/from/file", 200), ("/from/inner", 403), ("/test/?f=file", 204), ("/test/?f=inner", 205),
      ("/test/?f=none", 205), ("/index/", 403), ("/listed/", 403),
    ]
    // Twice: locations that share a cache don't share what it found.
    for _ in 0..<2 {
      for (path, status) in rows {
        #expect(try door.get(path).status == status, "\(path)")
      }
    }
    #expect(try door.get("/try/inner").text == "file")
    #expect(try door.get("/try/other").text == "other")
    #expect(door.errorLog.contains("failed (40: Too many levels of symbolic links)"))
    try door.stop()
  }

  /// Who owns a folder exchanges a file for a link while it is looked up: what the link leads to
  /// belongs to somebody else, and stays his.
  @Test(.enabled(if: getuid() == 0, "only root can make files of two owners"))
  func noLinkIsPutInBetween() async throws {
    let door = try await start("keepalive_requests 10000;")
    let www = door.site.folder + "www/"
    let isOver = Atomic(false)
    DispatchQueue.concurrentPerform(iterations: 2) { part in
      if part == 0 {
        while !isOver.load(ordering: .relaxed) {
          link(www + "file", www + "own")
          rename(www + "own", www + "changing")
          symlink("../foreign", www + "way-out")
          rename(www + "way-out", www + "changing")
        }
      } else {
        defer { isOver.store(true, ordering: .relaxed) }
        #expect(throws: Never.self) {
          let client = try door.client()
          var served = 0
          for _ in 0..<4000 {
            try client.send("GET /owner/changing HTTP/1.1\r\nHost: x\r\n\r\n")
            let response = try client.response()
            #expect(response.text != "foreign")
            if response.status == 200 { served += 1 }
          }
          #expect(served > 0)
        }
      }
    }
  }

  @Test func realpathRootIsWhereLinksLead() async throws {
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/current;
          location / { return 200 "$document_root $realpath_root"; }
          location /alias/ { alias %%DIR%%/releases/../current/; return 200 "$document_root $realpath_root"; }
          location /none { root %%DIR%%/none; return 200 "$document_root $realpath_root"; }
        } }
        """, files: ["releases/7/index.html": "seven"])
    let folder = String(site.folder.dropLast())
    symlink("releases/7", site.folder + "current")
    let door = try await Portico.start(site)
    #expect(try door.get("/").text == "\(folder)/current \(folder)/releases/7")
    #expect(
      try door.get("/alias/").text == "\(folder)/releases/../current/ \(folder)/releases/7")
    #expect(try door.get("/none").text == "\(folder)/none ")
    #expect(door.errorLog.contains("realpath() \"\(folder)/none\" failed (2: No such file"))
    try door.stop()
  }

  @Test func refusesUnknownWords() throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; disable_symlinks onn; } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("\"disable_symlinks\" has no parameter \"onn\""))
  }
}

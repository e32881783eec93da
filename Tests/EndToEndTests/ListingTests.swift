// `autoindex` and `random_index`: what answers for a folder.

import Foundation
import Testing

@Suite struct ListingTests {
  private static let config = """
    http {
      server {
        listen 127.0.0.1:%%PORT_0%%;
        root %%DIR%%/www;
        gzip_min_length 0;
        autoindex on;
        location / { }
        location /off/ { autoindex off; alias %%DIR%%/www/; }
        location /rounded/ { autoindex_exact_size off; alias %%DIR%%/www/; }
        location /zip/ { gzip on; charset utf-8; alias %%DIR%%/www/; }
        location /xml/ { autoindex_format xml; alias %%DIR%%/www/; }
        location /json/ { autoindex_format json; alias %%DIR%%/www/; }
        location /jsonp/ { autoindex_format jsonp; alias %%DIR%%/www/; }
        location /links/ { disable_symlinks on; alias %%DIR%%/www/; }
        location /random/ { random_index on; autoindex off; alias %%DIR%%/www/; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    let door = try await Portico.start(
      config: Self.config,
      files: [
        "www/file": "1234567", "www/.hidden": "", "www/folder/inner": "inner",
        "www/<&\"'>": "odd", "www/a b:c?%": "", "www/indexed/index.html": "an index",
        "www/\(String(repeating: "\u{444}", count: 60))": "",
        "www/large": String(repeating: "x", count: 20_000),
      ])
    let folder = door.site.folder + "www/"
    symlink("file", folder + "link")
    symlink("folder", folder + "folder-link")
    symlink("nowhere", folder + "broken")
    mkdir(folder + "empty", 0o755)
    return door
  }

  @Test func aFolderIsAPageOfLinks() async throws {
    let door = try await start()
    let answer = try door.get("/")
    #expect(answer.status == 200 && answer["content-type"] == "text/html")
    #expect(answer["content-length"] == "\(answer.body.count)")
    let page = answer.text
    #expect(page.contains("<title>Index of /</title>"))
    let time = /\d\d-\w{3}-\d{4} \d\d:\d\d/
    #expect(page.contains(/<a href="file">file<\/a> {47}\d\d-\w{3}-\d{4} \d\d:\d\d {19}7\n/))
    #expect(
      page.contains(/<a href="folder\/">folder\/<\/a> {44}\d\d-\w{3}-\d{4} \d\d:\d\d {19}-\n/))
    #expect(page.matches(of: time).count == 11)
    for line in [
      "<a href=\"link\">", "<a href=\"folder-link/\">", "<a href=\"broken\">",
      "<a href=\"empty/\">",
      "<a href=\"a%20b%3Ac%3F%25\">a b:c?%</a>",
      "<a href=\"%3C%26%22%27%3E\">&lt;&amp;&quot;'&gt;</a>",
      ">" + String(repeating: "\u{444}", count: 47) + "..&gt;</a> ",
    ] { #expect(page.contains(line), "\(line)") }
    #expect(!page.contains("hidden"))
    // Folders come first, and each link leads to what it names.
    let links = page.matches(of: /href="([^"]*)"/).map { String($0.1) }
    #expect(links.prefix(5) == ["../", "empty/", "folder/", "folder-link/", "indexed/"])
    for link in links.dropFirst() where link != "broken" {
      #expect(try door.get("/" + link).status == 200, "\(link)")
    }
    #expect(try door.get("/indexed/").text == "an index")
    #expect(try door.get("/rounded/").text.contains(/large.* 20K\n/))
    #expect(try door.get("/rounded/").text.contains(/"file".* 7\n/))
    try door.stop()
  }

  @Test(arguments: [
    ("/off/", "GET", 403), ("/none/", "GET", 404), ("/", "POST", 405), ("/", "HEAD", 200),
    ("/file/", "GET", 404), ("/jsonp/?callback=a(b)", "GET", 400), ("/folder", "GET", 301),
  ])
  func whatIsNoListIsRefused(path: String, method: String, status: Int) async throws {
    let door = try await start()
    let answer = try door.get(path, method: method)
    #expect(answer.status == status && (method != "HEAD" || answer.body.isEmpty))
    try door.stop()
  }

  @Test func filtersApplyToLists() async throws {
    let door = try await start()
    let plain = try door.get("/zip/")
    #expect(plain["content-type"] == "text/html; charset=utf-8")
    let answer = try door.get("/zip/", headers: ["Accept-Encoding": "gzip"])
    #expect(gunzipped(answer.body) == plain.body)
    try door.stop()
  }

  private struct Entry: Decodable, Equatable {
    var name: String
    var type: String
    var size: Int?
  }

  @Test func aListCanBeJSON() async throws {
    let door = try await start()
    let answer = try door.get("/json/")
    #expect(answer["content-type"] == "application/json")
    let list = try JSONDecoder().decode([Entry].self, from: Data(answer.body))
    #expect(list.count == 11)
    #expect(list.contains(Entry(name: "file", type: "file", size: 7)))
    #expect(list.contains(Entry(name: "link", type: "file", size: 7)))
    #expect(list.contains(Entry(name: "folder", type: "directory")))
    #expect(list.contains(Entry(name: "broken", type: "other")))
    #expect(try door.get("/xml/").text.contains(/<other mtime="[^"]+">broken<\/other>/))
    #expect(list.contains(Entry(name: "<&\"'>", type: "file", size: 3)))
    let script = try door.get("/jsonp/empty/?callback=page.show_1")
    #expect(script["content-type"] == "application/javascript")
    #expect(script.text == "/* callback */\npage.show_1([\n]);\n")
    let bare = try door.get("/jsonp/empty/")
    #expect(bare["content-type"] == "application/json" && bare.text == "[\n]\n")
    try door.stop()
  }

  @Test func aListCanBeXML() async throws {
    let door = try await start()
    let answer = try door.get("/xml/")
    #expect(answer["content-type"] == "text/xml; charset=utf-8")
    let page = answer.text
    #expect(page.hasPrefix("<?xml version=\"1.0\"?>\n<list>\n<directory mtime=\""))
    #expect(page.contains(/<file mtime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" size="7">file<\/file>/))
    #expect(page.contains("&lt;&amp;&quot;'&gt;</file>"))
    try door.stop()
  }

  @Test func sizesAreRoundedAsNginxDoes() async throws {
    let sizes: [(Int64, String)] = [
      (0, "      0"), (9999, "   9999"), (10_000, "    10K"), (524_287, "   512K"),
      (1_048_575, "  1024K"), (1_048_576, "     1M"), (1_572_863, "     1M"),
      (1_572_864, "     2M"), (1_073_741_823, "  1024M"), (1_610_612_735, "     1G"),
      (1_610_612_736, "     2G"), (10_737_418_240, "    10G"),
    ]
    let door = try await start()
    for (size, _) in sizes {
      let path = door.site.folder + "www/empty/\(size)"
      #expect(FileManager.default.createFile(atPath: path, contents: nil))
      #expect(truncate(path, off_t(size)) == 0)
    }
    let folder = try door.get("/rounded/")
    #expect(folder.text.contains(/>folder\/<\/a> {44}\d\d-\w{3}-\d{4} \d\d:\d\d {7}-\n/))
    let lines = try door.get("/rounded/empty/").text.split(separator: "\n")
    for (size, shown) in sizes {
      let line = try #require(lines.first { $0.contains("\"\(size)\"") })
      #expect(line.contains(/:\d\d (.{7})$/) && line.hasSuffix(" " + shown), "\(line)")
    }
    try door.stop()
  }

  @Test func linksThatMayNotBeFollowedAreNotListed() async throws {
    let door = try await start()
    let page = try door.get("/links/").text
    #expect(page.contains("href=\"file\"") && !page.contains("link\"") && !page.contains("broken"))
    try door.stop()
  }

  @Test func aRandomFileAnswersForItsFolder() async throws {
    let door = try await start()
    #expect(try door.get("/random/folder/").text == "inner")
    #expect(try door.get("/random/empty/").status == 403)
    #expect(try door.get("/random/").status == 200)
    try door.stop()
  }

  @Test(arguments: [
    ("autoindex_format yaml;", "must be one of"), ("autoindex yes;", "must be \"on\" or \"off\""),
    ("random_index on;", "is not allowed here"),
  ])
  func refusesWhatIsNoSetting(line: String, message: String) throws {
    let site = try Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; \(line) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }
}

// What locations inside others inherit, and what they don't, as nginx decides it.

import Foundation
import Testing

@Suite struct NestedLocationTests {
  private static let config = """
    http { server {
      listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
      location /hidden/ {
        internal;
        location ~ \\.txt$ { }
        location /hidden/deep/ { return 200 deep; }
      }
      location /shown/ { rewrite ^/shown/(.*)$ /hidden/$1 last; }
      location /alias/ {
        alias %%DIR%%/other/;
        location ~ \\.txt$ { add_header X-Inside expression; }
        location = /alias/same.html { add_header X-Inside same; }
        location /alias/deep/ { try_files $uri more.txt =404; }
        location /alias/rooted/ { root %%DIR%%/www; }
        limit_except GET { deny all; }
      }
      location ~ ^/(?<name>[^/]+)/part { location ~ t(?<tail>.*)$ { return 200 "$name $tail $1"; } }
      location ~ ^/any/(?<rest>.+)$ { alias %%DIR%%/other/$rest; location ~ e { add_header X-Inside any; } }
    } }
    """
  private static let files = [
    "www/hidden/a.txt": "hidden", "www/alias/b.txt": "wrong", "www/alias/rooted/r.html": "rooted",
    "other/b.txt": "b", "other/same.html": "same", "other/deep/d.html": "d",
    "other/more.txt": "more",
  ]

  @Test func inheritWhatIsInternalAndWhereFilesAre() async throws {
    let door = try await Portico.start(config: Self.config, files: Self.files)
    for (path, status, text, inside) in [
      ("/hidden/a.txt", 404, nil, nil), ("/hidden/deep/x", 404, nil, nil),
      ("/shown/a.txt", 200, "hidden", nil), ("/shown/deep/x", 200, "deep", nil),
      ("/alias/b.txt", 200, "b", "expression"), ("/alias/same.html", 200, "same", "same"),
      ("/alias/deep/d.html", 200, "d", nil), ("/alias/deep/x", 200, "more", nil),
      ("/alias/rooted/r.html", 200, "rooted", nil), ("/abc/party", 200, "abc y y", nil),
      ("/any/same.html", 200, nil, "any"),
    ] as [(String, Int, String?, String?)] {
      let response = try door.get(path)
      #expect(response.status == status && response["X-Inside"] == inside, "\(path)")
      if let text { #expect(response.text == text, "\(path)") }
    }
    try door.stop()
  }
}

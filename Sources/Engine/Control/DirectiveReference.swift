// The reference of directives, docs/directives.md, written from the rows: what is not in a row is
// not a directive, and what is in one is documented.

extension FrontDoor {
  /// The whole reference, in Markdown.
  public static func directiveReference() -> String {
    var text = """
      # Directives

      Written by `portico directives`; don't edit. What a directive means is nginx's \
      documentation's to
      say, unless the line below says otherwise. Where a default differs from nginx's, the line \
      gives
      the reason.

      """
    for (title, rows) in chapters {
      text +=
        "\n## \(title)\n\n| directive | arguments | default | where | |\n|---|---|---|---|---|\n"
      for row in rows.sorted(by: { $0.name < $1.name }) { text += line(row) }
    }
    return text + unsupported()
  }

  /// What is refused with a reason of its own.
  private static func unsupported() -> String {
    var text = """

      ## Not supported

      These are refused with the reason given here; any other word that is not above is refused as
      unknown. `*` stands for the rest of a name.

      | directives | |
      |---|---|

      """
    for (names, message) in NginxDirectives.notes {
      let listed = names.map { "`\($0)`" }.joined(separator: ", ")
      text += "| \(listed) | \(message.replacing("\"", with: "`")) |\n"
    }
    return text
  }

  private static let chapters: [(String, [Row])] = [
    ("Program and connections", Row.mainRows), ("Servers and locations", Row.serverRows),
    (
      "Requests, files and responses",
      Row.clientRows + Row.coreRows + Row.fileRows + Row.mirrorRows + Row.listingRows
    ),
    ("Admission", Row.limitRows + Row.accessRows + Row.authRows + Row.linkRows),
    ("HTTP/2", Row.http2Rows),
    ("Rewriting and maps", Row.rewriteRows + Row.splitRows + Row.geoRows),
    (
      "Bodies of responses",
      Row.gzipRows + Row.charsetRows + Row.substituteRows + Row.ssiRows + Row.additionRows
    ),
    ("Fields and logs", Row.headerRows + Row.userIDRows + Row.logRows),
    ("Client addresses", Row.realIPRows),
    ("Proxying", Row.proxyRows + Row.proxyCookieRows + Row.storeRows), ("Caching", Row.cacheRows),
    ("gRPC", Row.grpcRows),
    ("Upstreams and health checks", Row.upstreamRows + Row.stickyRows), ("TLS", Row.tlsRows),
    ("Without effect", Row.tuningRows),
  ]

  private static func line(_ row: Row) -> String {
    let range = row.arguments
    let count =
      range.lowerBound == range.upperBound
      ? "\(range.lowerBound)"
      : range.upperBound >= 1000
        ? "\(range.lowerBound)…" : "\(range.lowerBound)–\(range.upperBound)"
    let form = row.isBlock ? count + " { }" : count
    let standard = row.standard.map { $0 == "—" ? "—" : "`\($0)`" } ?? "—"
    let places = row.contexts.names.joined(separator: ", ")
    return "| `\(row.name)` | \(form) | \(standard) | \(places) | \(row.summary) |\n"
  }
}

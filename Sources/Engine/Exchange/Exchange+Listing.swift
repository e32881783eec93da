// `autoindex`: a folder as a list of its files, in HTML, XML or JSON
// (https://nginx.org/en/docs/http/ngx_http_autoindex_module.html); `random_index`: one of its files
// (https://nginx.org/en/docs/http/ngx_http_random_index_module.html).

import CLinux
import HTTP

extension Exchange {
  /// Answers with a list of what stands in `folder`.
  func serveListing(of folder: Bytes, _ settings: ListingSettings) {
    guard method == .get || method == .head else { return fail(405) }
    var callback = Bytes()
    if settings.format == .jsonp {
      callback = QueryArguments.value(of: Bytes("callback"), in: arguments) ?? Bytes()
      guard callback.isScriptName else {
        log(.info, "client sent an invalid callback name: \"\(callback.string)\"")
        return fail(400)
      }
    }
    guard let entries = read(folder) else { return }
    let listing = FolderListing(settings, callback: callback, zoneOffset: zoneOffset(settings))
    let page = listing.write(entries.list, uri: uri, loop.pool)
    response.status = 200
    response.contentType = listing.contentType
    response.contentLength = page.count
    startResponse()
    for buffer in page.buffers { sendBody(buffer) }
    completeResponse()
  }

  /// The name of a random file of `folder`, percent-encoding not needed; nil: there is none.
  func randomFile(_ folder: Bytes) -> Bytes? {
    guard fileKind(folder) == .directory, let entries = try? entries(folder) else { return nil }
    return entries.list.filter { $0.status.kind == .regular }.randomElement()?.name
  }

  private func entries(_ folder: Bytes) throws(SystemError) -> FolderEntries {
    let follows = filePolicy(folder).links.mode == .all
    return try FolderEntries(folder, follows: follows, &arena)
  }

  /// The sorted entries; nil: answered with an error.
  private func read(_ folder: Bytes) -> FolderEntries? {
    do throws(SystemError) {
      var entries = try entries(folder)
      if entries.isCut { log(.warn, "\"\(folder.string)\" has more files than a list shows") }
      entries.sort()
      return entries
    } catch {
      failFile(error, folder)
      return nil
    }
  }

  /// Minutes that the clock of the list is ahead of UTC.
  private func zoneOffset(_ settings: ListingSettings) -> Int {
    settings.isLocal ? Int(linux_zone_offset_seconds(Int64(loop.wallTime / 1000))) / 60 : 0
  }
}

extension Bytes {
  /// Whether it can only name a function in a script: a callback comes from the client.
  fileprivate var isScriptName: Bool {
    for index in 0..<count {
      switch self[index] {
      case UInt8(ascii: "_"), UInt8(ascii: "$"), UInt8(ascii: "."): continue
      case let byte where ASCII.isLetter(byte) || ASCII.isDigit(byte): continue
      default: return false
      }
    }
    return true
  }
}

/// How a list is written.
struct FolderListing {
  private let format: ListingSettings.Format
  private let isExact: Bool
  private let callback: Bytes
  private let zoneOffset: Int

  // As wide as nginx's columns: scripts read them.
  private static let nameWidth = 50
  private static let exactSizeWidth = 20
  private static let roundedSizeWidth = 8

  /// - Parameters:
  ///   - callback: the function that JSON is handed to, or empty.
  ///   - zoneOffset: minutes that HTML's times are ahead of UTC.
  init(_ settings: ListingSettings, callback: Bytes, zoneOffset: Int) {
    format = settings.format
    isExact = settings.isExact
    self.callback = callback
    self.zoneOffset = zoneOffset
  }

  var contentType: Bytes {
    switch format {
    case .html: Bytes("text/html")
    case .xml: Bytes("text/xml; charset=utf-8")
    case .json: Bytes("application/json")
    // Without a function to hand it to it is no script.
    case .jsonp: callback.isEmpty ? Bytes("application/json") : Bytes("application/javascript")
    }
  }

  /// The page for the folder that `uri` names.
  func write(_ entries: [FolderEntry], uri: Bytes, _ pool: BufferPool) -> PageWriter {
    var page = PageWriter(pool)
    switch format {
    case .html: writeHTML(entries, uri, &page)
    case .xml: writeXML(entries, &page)
    case .json, .jsonp: writeJSON(entries, &page)
    }
    return page
  }

  // --- HTML --------------------------------------------------------------------------------------

  private func writeHTML(_ entries: [FolderEntry], _ uri: Bytes, _ page: inout PageWriter) {
    page.write(Bytes("<!doctype html>\n<html>\n<head><title>Index of "))
    page.writeHTML(uri)
    page.write(Bytes("</title></head>\n<body>\n<h1>Index of "))
    page.writeHTML(uri)
    page.write(Bytes("</h1><hr><pre><a href=\"../\">../</a>\n"))
    for entry in entries { writeLine(entry, &page) }
    page.write(Bytes("</pre><hr></body>\n</html>\n"))
  }

  private func writeLine(_ entry: FolderEntry, _ page: inout PageWriter) {
    let slash = entry.isFolder ? Bytes("/") : Bytes()
    let escaped = 2 * Escape.count(entry.name, kind: .uriComponent)
    page.write(Bytes("<a href=\""))
    page.write(entry.name.count + escaped) { room in
      _ = Escape.write(entry.name, kind: .uriComponent, into: room)
    }
    page.write(slash)
    page.write(Bytes("\">"))
    let length = entry.name.characterCount
    let isCut = length + slash.count > Self.nameWidth
    let shown =
      isCut ? entry.name.prefix(entry.name.end(ofCharacters: Self.nameWidth - 3)) : entry.name
    page.writeHTML(shown)
    page.write(isCut ? Bytes("..&gt;") : slash)
    page.write(Bytes("</a>"))
    page.spaces(isCut ? 1 : Self.nameWidth - length - slash.count + 1)
    page.write(HTTPDate.listingLength) { room in
      HTTPDate.writeListing(entry.status.modified, offsetMinutes: zoneOffset, into: room)
    }
    writeSize(entry, &page)
    page.write(UInt8(ascii: "\n"))
  }

  /// The size at the right end of its column.
  private func writeSize(_ entry: FolderEntry, _ page: inout PageWriter) {
    let width = isExact ? Self.exactSizeWidth : Self.roundedSizeWidth
    if entry.isFolder {
      page.spaces(width - 1)
      return page.write(UInt8(ascii: "-"))
    }
    let (number, unit) = isExact ? (entry.status.size, Bytes()) : rounded(entry.status.size)
    var digits = 1
    var rest = number
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    page.spaces(max(1, width - digits - unit.count))
    page.writeDecimal(number)
    page.write(unit)
  }

  /// A size to the nearest unit: bytes up to 9999, then the largest unit that it is at least one
  /// of.
  private func rounded(_ size: Int) -> (number: Int, unit: Bytes) {
    if size <= 9999 { return (size, Bytes()) }
    let (shift, unit) =
      size >= 1 << 30 ? (30, Bytes("G")) : size >= 1 << 20 ? (20, Bytes("M")) : (10, Bytes("K"))
    return (size >> shift + size >> (shift - 1) & 1, unit)
  }

  // --- XML and JSON ------------------------------------------------------------------------------

  private func writeXML(_ entries: [FolderEntry], _ page: inout PageWriter) {
    page.write(Bytes("<?xml version=\"1.0\"?>\n<list>\n"))
    for entry in entries {
      page.write(UInt8(ascii: "<"))
      page.write(entry.typeName)
      page.write(Bytes(" mtime=\""))
      page.write(HTTPDate.timestampLength) { room in
        HTTPDate.writeTimestamp(entry.status.modified, into: room)
      }
      if entry.status.kind == .regular {
        page.write(Bytes("\" size=\""))
        page.writeDecimal(entry.status.size)
      }
      page.write(Bytes("\">"))
      page.writeHTML(entry.name)
      page.write(Bytes("</"))
      page.write(entry.typeName)
      page.write(Bytes(">\n"))
    }
    page.write(Bytes("</list>\n"))
  }

  private func writeJSON(_ entries: [FolderEntry], _ page: inout PageWriter) {
    if !callback.isEmpty {
      // A comment in front keeps the client's word from being the first bytes of a file.
      page.write(Bytes("/* callback */\n"))
      page.write(callback)
      page.write(UInt8(ascii: "("))
    }
    page.write(Bytes("["))
    for (index, entry) in entries.enumerated() {
      page.write(index == 0 ? Bytes("\n{ \"name\":\"") : Bytes(",\n{ \"name\":\""))
      page.writeJSON(entry.name)
      page.write(Bytes("\", \"type\":\""))
      page.write(entry.typeName)
      page.write(Bytes("\", \"mtime\":\""))
      page.write(HTTPDate.length) { HTTPDate.write(entry.status.modified, into: $0) }
      page.write(UInt8(ascii: "\""))
      if entry.status.kind == .regular {
        page.write(Bytes(", \"size\":"))
        page.writeDecimal(entry.status.size)
      }
      page.write(Bytes(" }"))
    }
    page.write(Bytes("\n]"))
    page.write(callback.isEmpty ? Bytes("\n") : Bytes(");\n"))
  }
}

extension Bytes {
  /// How many characters of UTF-8 begin here.
  fileprivate var characterCount: Int {
    var characters = 0
    for index in 0..<count where self[index] & 0xC0 != 0x80 { characters += 1 }
    return characters
  }

  /// Where the first `number` characters of UTF-8 end.
  fileprivate func end(ofCharacters number: Int) -> Int {
    var characters = 0
    for index in 0..<count where self[index] & 0xC0 != 0x80 {
      if characters == number { return index }
      characters += 1
    }
    return count
  }
}

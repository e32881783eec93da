// A file of a cache while it is being written: header first, then the body as it comes. It gets its
// name when it is whole; a draft that is given up is removed with its last user, who may be a slow
// client that still reads from it.

import HTTP

/// A response on its way into a cache.
final class CacheDraft {
  let file: TemporaryFile
  private var header: CacheFileHeader
  private let room: MutableBytes
  private let limit: Int?

  /// Begins a file for `header`, whose bytes live as long as the exchange.
  ///
  /// - Parameter limit: how large the file may become; nil: as large as it likes.
  init(
    _ header: CacheFileHeader, in folder: CacheFolder, name: CacheDraftName, limit: Int?,
    _ arena: inout Arena
  ) throws(SystemError) {
    self.header = header
    self.limit = limit
    room = arena.allocate(header.count)
    file = try TemporaryFile.make(in: folder.path, named: name.text, isKept: false)
    header.write(into: room)
    try file.append(room.readOnly)
  }

  /// Where in the file the body begins.
  var bodyStart: Int { header.count }

  /// Appends to the body; false if it has become too large.
  func append(_ bytes: Bytes) throws(SystemError) -> Bool {
    if let limit, file.size + bytes.count > limit { return false }
    try file.append(bytes)
    return true
  }

  /// The body is complete: puts the file into its place; gives its size.
  func finish(_ folder: CacheFolder, _ key: CacheKey) throws(SystemError) -> Int {
    header.bodyCount = file.size - header.count
    header.write(into: room)
    try file.overwrite(room.readOnly.prefix(CacheFileHeader.fixedCount))
    try file.move(to: folder.file(of: key))
    return file.size
  }
}

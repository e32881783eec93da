// Media types by extension: the `types` block.
//
// Filled while the plan is made, asked once per file that is served. The types it gives live as
// long as the table.

import HTTP

/// File extensions to media types.
struct MediaTypes {
  private let store: ByteStore
  private var table: KeyTable
  private var types: [Bytes] = []

  /// An empty table.
  init() {
    store = ByteStore()
    table = KeyTable(store: store)
  }

  /// nginx's types where no `types` block is written.
  static func standard() -> MediaTypes {
    var types = MediaTypes()
    types.insert("html", type: "text/html")
    types.insert("gif", type: "image/gif")
    types.insert("jpg", type: "image/jpeg")
    return types
  }

  /// Gives `fileExtension`, without its dot, a type. A later type replaces an earlier one, which is
  /// returned so that the configuration can warn.
  @discardableResult
  mutating func insert(_ fileExtension: String, type: String) -> Bytes? {
    let index = types.firstIndex { known in type.withBytes { known == $0 } }
    let value = index ?? types.count
    if index == nil { types.append(store.append(type)) }
    return fileExtension.withBytes { key in
      if let previous = table.find(key) {
        table.replace(key, value: value)
        return types[previous]
      }
      table.insert(key, value: value)
      return nil
    }
  }

  /// The type of the file that `path` names, or nil: then `default_type` counts.
  func type(forPath path: Bytes) -> Bytes? {
    guard let fileExtension = Self.fileExtension(ofPath: path) else { return nil }
    return table.find(fileExtension).map { types[$0] }
  }

  /// What is behind the last dot of the path's last part. A name that begins with its only dot
  /// (".htaccess") has none.
  static func fileExtension(ofPath path: Bytes) -> Bytes? {
    var index = path.count - 1
    while index > 0 {
      if path[index] == UInt8(ascii: "/") { return nil }
      if path[index] == UInt8(ascii: ".") && path[index - 1] != UInt8(ascii: "/") {
        return path.dropping(index + 1)
      }
      index -= 1
    }
    return nil
  }
}

// What says which software answers: the Server field, and the last line of our own pages
// (https://nginx.org/r/server_tokens). By itself that is "portico", without a version.

import HTTP

extension Exchange {
  /// Gives the response the Server field that the location wants, unless it has an upstream's. An
  /// empty one is not sent.
  func sign() {
    guard response.server == nil, let signature = location.settings.core.value.signature else {
      return
    }
    response.server = lineSafe(evaluate(signature))
  }

  /// The small page for an error or a redirect, signed.
  func pageText(_ status: Int) -> Bytes {
    guard let signature = location.settings.core.value.signature else {
      return ErrorPageText.make(status, signature: Bytes("portico"), &arena)
    }
    return ErrorPageText.make(status, signature: escapedForHTML(evaluate(signature)), &arena)
  }

  /// `text` as it may stand in a page: a signature may tell what clients sent.
  private func escapedForHTML(_ text: Bytes) -> Bytes {
    var count = 0
    for index in 0..<text.count { count += Self.entity(text[index])?.count ?? 1 }
    if count == text.count { return text }
    let room = arena.allocate(count)
    count = 0
    for index in 0..<text.count {
      if let entity = Self.entity(text[index]) {
        room.copy(entity, at: count)
        count += entity.count
      } else {
        room[count] = text[index]
        count += 1
      }
    }
    return room.readOnly
  }

  private static func entity(_ byte: UInt8) -> Bytes? {
    switch byte {
    case UInt8(ascii: "&"): Bytes("&amp;")
    case UInt8(ascii: "<"): Bytes("&lt;")
    case UInt8(ascii: ">"): Bytes("&gt;")
    default: nil
    }
  }
}

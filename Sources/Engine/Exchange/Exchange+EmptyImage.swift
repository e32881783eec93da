// `empty_gif`: one transparent pixel, for pages that count their visitors by it
// (https://nginx.org/en/docs/http/ngx_http_empty_gif_module.html).

import HTTP

extension Exchange {
  /// Answers with the image, which never changes.
  func serveEmptyImage() {
    guard method == .get || method == .head else { return fail(405) }
    response.contentType = Bytes("image/gif")
    // Older than whatever a client has stored: as nginx says it, 28 September 1970, 6:00 GMT.
    response.lastModified = 23_349_600
    respond(200, arena.copy(Self.emptyImage))
  }

  /// GIF89a: 1 × 1, two colours, both black, of which the second is transparent.
  private static let emptyImage: [UInt8] =
    Array("GIF89a".utf8) + [1, 0, 1, 0, 0x80, 1, 0]
    // Colours.
    + [0, 0, 0, 0, 0, 0]
    // Extension: transparency on, its index 1.
    + [0x21, 0xf9, 4, 1, 0, 0, 1, 0]
    // The image, in LZW codes of three bits: clear, index 1, end.
    + [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x4c, 1, 0, 0x3b]
}

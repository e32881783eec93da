// A range of a body that is cut out while the body passes by: of a response on its way into a
// cache, which was asked for whole, and where `proxy_force_ranges` says so. One range; several are
// cut out of what is stored only.

import HTTP

/// Which part of a body the client gets, and how much has passed.
struct BodyCut {
  let range: ByteRange
  private var position = 0

  init(_ range: ByteRange) { self.range = range }

  /// Where that ends of the part which has passed.
  var passedEnd: Int { min(position, range.end) }

  /// Leaves in `piece`, which is next, what belongs to the part; false if that is nothing.
  mutating func apply(to piece: Buffer) -> Bool {
    let start = max(0, range.start - position)
    let end = min(piece.count, range.end - position)
    position += piece.count
    if start >= end { return false }
    piece.truncate(end)
    piece.skip(start)
    return true
  }
}

extension Exchange {
  /// Lets the head, which header rules have left, speak of the part that the client asked for of a
  /// body of `size` bytes.
  func cutOut(of size: Int?) {
    guard !isInner, response.acceptsRanges, response.status == 200,
      let size, let wish = field(.range)
    else { return }
    if let condition = field(.ifRange), !ifRangeHolds(condition) { return }
    var ranges: [ByteRange] = []
    let most = location.settings.core.maxRanges
    switch ByteRanges.parse(wish, size: size, maxRanges: most, into: &ranges) {
    case .ignore: break
    case .ranges:
      guard ranges.count == 1 else { return }
      cut = BodyCut(ranges[0])
      becomePartial(ranges[0], of: size)
    case .unsatisfiable: becomeUnsatisfiable(size)
    }
  }

  private func becomeUnsatisfiable(_ size: Int) {
    response.status = 416
    response.reason = nil
    response.contentLength = 0
    response.contentType = nil
    response.lastModified = nil
    response.hasBody = false
    response.acceptsRanges = false
    for token in [FieldName.lastModified, .etag, .contentEncoding] { response.remove(token) }
    response.add(unsatisfiedRange(size))
  }
}

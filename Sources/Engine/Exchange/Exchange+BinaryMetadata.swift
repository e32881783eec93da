// Binary metadata of gRPC calls: fields whose names end in "-bin", with base 64 in them
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
//
// Servers end their connection over a value that is none, and with it the calls of all clients who
// share it. So none is passed on, and a list goes out as a field for each of its values: not every
// server splits it.

import HTTP

extension Exchange {
  /// Whether all binary metadata of the client's request can be passed on.
  var hasSoundMetadata: Bool {
    var isSound = true
    forEachBinary { isSound = isSound && Base64.isCanonical($1) }
    return isSound
  }

  /// How many bytes lists of binary metadata take more as fields of their own, each of which takes
  /// `overhead` beside name and value.
  func binaryMetadataGrowth(_ overhead: Int) -> Int {
    var growth = 0
    forEachBinary { name, _ in growth += name.count + overhead }
    return growth
  }

  /// Goes over all values of binary metadata.
  private func forEachBinary(_ use: (_ name: Bytes, _ value: Bytes) -> Void) {
    for index in 0..<request.fields.count {
      let entry = request.fields[index]
      let name = entry.name.of(headBytes)
      guard entry.token == .other, Self.isBinary(name) else { continue }
      var values = entry.value.of(headBytes)
      while let value = Self.nextBinary(&values) { use(name, value) }
    }
  }

  /// Whether a field of that name is binary metadata.
  static func isBinary(_ name: Bytes) -> Bool {
    name.count > 4 && name.dropping(name.count - 4).equalsIgnoringCase(Bytes("-bin"))
  }

  /// Takes the next value off a list of binary metadata; nil at its end.
  static func nextBinary(_ list: inout Bytes) -> Bytes? {
    if list.isEmpty { return nil }
    let end = list.firstIndex(of: UInt8(ascii: ",")) ?? list.count
    defer { list = list.dropping(min(end + 1, list.count)) }
    return list.prefix(end).trimmed
  }
}

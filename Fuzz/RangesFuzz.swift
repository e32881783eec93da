// Fuzzes the Range field, and with it entity tags, lists, cookies and arguments, which read any
// value. The first byte chooses the size of the representation.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRanges(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  let bytes = unsafe Bytes(base: start, count: count)
  let value = bytes.dropping(1)
  let size = bytes[0] == 255 ? Int.max : (1 << (Int(bytes[0]) % 62)) - 1
  var ranges: [ByteRange] = []
  for limit in [0, 1, 5, Int.max] {
    let outcome = ByteRanges.parse(value, size: size, maxRanges: limit, into: &ranges)
    guard outcome == .ranges else { continue }
    precondition(ranges.count > 0 && ranges.count <= limit)
    for range in ranges {
      precondition(range.start >= 0 && range.start < range.end && range.end <= size)
    }
  }

  let half = value.count / 2
  let left = value.prefix(half)
  let right = value.dropping(half)
  _ = EntityTag.list(left, holds: right, .weak)
  _ = EntityTag.list(value, holds: nil, .strong)
  _ = Cookie.value(of: left, in: right)
  _ = QueryArguments.value(of: left, in: right)
  for element in HeaderList(value) { precondition(element.count > 0) }
  _ = Authority(value)
  return 0
}

// Fuzzes dates: what is read must be written and read again as the same moment.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDate(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  guard let seconds = HTTPDate.parse(bytes) else { return 0 }
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HTTPDate.length) { buffer in
    guard let base = buffer.baseAddress else { return }
    let out = unsafe MutableBytes(base: base, count: HTTPDate.length)
    HTTPDate.write(seconds, into: out)
    // A leap second at the end of the year 9999 is the one moment that can't be written.
    precondition(HTTPDate.parse(out.readOnly) == min(seconds, 253_402_300_799))
  }
  return 0
}

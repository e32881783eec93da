// Fuzzes the fields behind a chunked body: each lies in the section, on a line of its own, and none
// that may be passed on frames a message.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTrailerSection(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  var section = TrailerSection(bytes)
  var end = 0
  while let field = section.next() {
    precondition(Int(field.name.start) >= end && Int(field.value.start + field.value.count) < count)
    precondition(field.name.of(bytes).count > 0)
    precondition(CharacterSet.token.containsAll(field.name.of(bytes)))
    precondition(field.value.of(bytes).firstIndex(of: 0x0A) == nil)
    precondition(FieldName.lookup(field.name.of(bytes)) == field.token)
    let framing: [FieldName] = [.contentLength, .transferEncoding, .host, .connection]
    precondition(!framing.contains(field.token) || !field.token.mayTrail)
    end = Int(field.value.start + field.value.count)
  }
  return 0
}

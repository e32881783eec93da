// Fuzzes the request parser and the framing rules: whole and cut in two must come to the same end,
// and every offset must lie in the head.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequestHead(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  var head = RequestHead()
  var parser = RequestHeadParser()
  let progress = parser.parse(bytes, into: &head)

  var cutHead = RequestHead()
  var cutParser = RequestHeadParser()
  var cut = cutParser.parse(bytes.prefix(count / 2), into: &cutHead)
  if cut == .incomplete { cut = cutParser.parse(bytes, into: &cutHead) }
  precondition(cut == progress)

  guard progress == .complete else { return 0 }
  precondition(head.length <= count && head.length == cutHead.length)
  let all = bytes.prefix(head.length)
  for field in head.fields {
    precondition(FieldName.lookup(field.name.of(all)) == field.token)
    precondition(field.value.of(all).firstIndex(of: 0x0A) == nil)
    _ = head.connectionNames(field.name.of(all), in: all)
  }
  precondition(head.path.of(all).count + (head.query?.of(all).count ?? 0) <= head.target.count)
  if let framing = try? Framing.request(head, all) {
    precondition(framing.host.isEmpty || Authority(framing.host.of(all)) != nil)
    precondition(framing.body != .untilClose)
  }
  return 0
}

// Fuzzes the response parser and the framing rules, whole and cut in two.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzResponseHead(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  var head = ResponseHead()
  var parser = ResponseHeadParser()
  let progress = parser.parse(bytes, into: &head)

  var cutHead = ResponseHead()
  var cutParser = ResponseHeadParser()
  var cut = cutParser.parse(bytes.prefix(count / 2), into: &cutHead)
  if cut == .incomplete { cut = cutParser.parse(bytes, into: &cutHead) }
  precondition(cut == progress)

  guard progress == .complete else { return 0 }
  precondition(head.length <= count && head.length == cutHead.length)
  precondition(head.statusCode >= 100 && head.statusCode <= 999)
  let all = bytes.prefix(head.length)
  _ = head.reason.of(all)
  for field in head.fields { _ = field.value.of(all) }
  for method in [Method.get, .head, .connect] {
    let framing = try? Framing.response(head, all, requestMethod: method, upgradeRequested: true)
    precondition(framing?.body != .untilClose || framing?.keepAlive == false)
  }
  return 0
}

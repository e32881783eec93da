// Fuzzes heads that were decoded from HTTP/2: a line of the input is a line of the head, as a client
// could fill it. What is accepted must be a head by the rules of HTTP/1 too, with the same fields,
// or the upstream would read another request than the one that was judged.

/// The head that a connection would have written, as far as its lines are accepted.
private func readHead(_ input: Bytes, into head: inout RequestHead) -> [UInt8]? {
  var text: [UInt8] = []
  var position = 0
  repeat {
    let end = input.firstIndex(of: 0x0A, from: position) ?? input.count
    let start = text.count
    for index in position..<end { text.append(input[index]) }
    let isFirst = start == 0
    if isFirst { text += " HTTP/2.0".utf8 }
    // An empty line would end the head: there is no field without a name in HTTP/2 either.
    guard text.count > start else { return nil }
    let error = unsafe text.withUnsafeBufferPointer { raw in
      let bytes = unsafe Bytes(base: raw.baseAddress!, count: raw.count)
      return isFirst
        ? HTTP2Head.readLine(bytes, 0, bytes.count, into: &head)
        : HTTP2Head.readField(bytes, start, bytes.count, limits: HeadLimits(), into: &head)
    }
    if error != nil { return nil }
    text += [0x0D, 0x0A]
    position = end + 1
  } while position < input.count
  return text + [0x0D, 0x0A]
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2Head(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  var head = RequestHead()
  guard var text = readHead(unsafe Bytes(base: start, count: count), into: &head) else { return 0 }
  // The version is the line's only part that HTTP/1 has otherwise.
  let version = Int(head.target.start + head.target.count) + " HTTP/".utf8.count
  (text[version], text[version + 2]) = (0x31, 0x31)
  unsafe text.withUnsafeBufferPointer { raw in
    let bytes = unsafe Bytes(base: raw.baseAddress!, count: raw.count)
    var parsed = RequestHead()
    var parser = RequestHeadParser()
    precondition(parser.parse(bytes, into: &parsed) == .complete)
    precondition(parsed.length == bytes.count && parsed.target == head.target)
    precondition(parsed.method == head.method && parsed.path == head.path)
    precondition(parsed.fields.count == head.fields.count)
    for (field, other) in zip(head.fields, parsed.fields) {
      precondition(field.name == other.name && field.value == other.value)
      precondition(field.token == other.token)
    }
  }
  return 0
}

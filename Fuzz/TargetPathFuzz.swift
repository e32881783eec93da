// Fuzzes path normalising and escapes: what comes out is absolute, free of dot segments and of NUL,
// and what is escaped comes back.

private func check(_ bytes: Bytes, mergeSlashes: Bool, _ out: MutableBytes) {
  guard let length = try? TargetPath.normalize(bytes, mergeSlashes: mergeSlashes, into: out) else {
    precondition(TargetPath.needsNormalizing(bytes))
    return
  }
  let path = out.readOnly.prefix(length)
  precondition(path[0] == 0x2F)
  for segment in ["/./", "/../"] as [StaticString] { precondition(!path.contains(Bytes(segment))) }
  precondition(!path.hasSuffix(Bytes("/..")) && !path.hasSuffix(Bytes("/.")))
  if mergeSlashes { precondition(!path.contains(Bytes("//"))) }
  if !TargetPath.needsNormalizing(bytes) { precondition(path == bytes) }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTargetPath(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 3 * count + 1) { buffer in
    guard let base = buffer.baseAddress else { return }
    let all = unsafe MutableBytes(base: base, count: 3 * count + 1)
    check(bytes, mergeSlashes: true, all.slice(0, max(count, 1)))
    check(bytes, mergeSlashes: false, all.slice(0, max(count, 1)))
    for kind in [Escape.UnescapeKind.path, .redirect] {
      precondition(Escape.unescape(bytes, kind: kind, into: all.slice(0, count)) <= count)
    }
    let needed = count + 2 * Escape.count(bytes, kind: .uriComponent)
    let escaped = Escape.write(bytes, kind: .uriComponent, into: all.slice(0, needed))
    precondition(escaped == needed)
    precondition(Escape.unescape(all.readOnly.prefix(needed), into: all.slice(0, needed)) == count)
    precondition(all.readOnly.prefix(count) == bytes)
  }
  return 0
}

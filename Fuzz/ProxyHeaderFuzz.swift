// Fuzzes PROXY protocol headers, and the addresses in them: whole and cut must come to the same end, and
// the header must lie in what was given.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyHeader(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  _ = IPEndpoint(bytes)
  _ = IPNetwork(bytes)
  let progress = ProxyHeader.parse(bytes)
  for cut in 0..<count {
    let early = ProxyHeader.parse(bytes.prefix(cut))
    precondition(early == .incomplete || early == progress)
  }
  guard case .complete(let header) = progress else { return 0 }
  precondition(header.length > 0 && header.length <= count && header.length <= ProxyHeader.maxLength)
  let fields = header.fields.of(bytes.prefix(header.length))
  _ = ProxyField.verifyResult(in: fields)
  for name in ["alpn", "0x20", "ssl_cn", "ssl_0x7f"] {
    if let value = ProxyField(name: name)?.value(in: fields) { precondition(value.count < fields.count) }
  }
  return 0
}

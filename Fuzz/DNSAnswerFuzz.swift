// Fuzzes answers to questions for SRV records, of which every byte comes from the network.
// with: Control/DNSAnswer.swift

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDNSAnswer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let message = unsafe Array(UnsafeBufferPointer(start: start, count: count))
  guard let answer = DNSAnswer(message, name: "_http._tcp.app.test") else { return 0 }
  precondition(answer.services.count <= DNSAnswer.recordLimit && answer.timeToLive >= 0)
  for service in answer.services {
    precondition((0...65_535).contains(service.priority) && (0...65_535).contains(service.weight))
    precondition(service.target.utf8.count <= 255)
  }
  return 0
}

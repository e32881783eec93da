// Fuzzes the chunked decoder: in one piece and byte by byte it must find the same body and the same
// end, and never claim bytes that aren't there.

private struct Outcome: Equatable {
  var bodyBytes = 0
  var bodyHash: UInt64 = 0
  var consumed = 0
  var error: ChunkedError?
  var isFinished = false
}

private func decode(_ bytes: Bytes, pieceLength: Int) -> Outcome {
  var decoder = ChunkedDecoder()
  var outcome = Outcome()
  while true {
    let end = min(outcome.consumed + pieceLength, bytes.count)
    let piece = bytes.slice(outcome.consumed, end)
    switch decoder.next(piece) {
    case .data(let start, let count, let consumed):
      precondition(count > 0 && start >= 0 && start + count == consumed)
      for index in start..<consumed {
        outcome.bodyHash = outcome.bodyHash &* 31 &+ UInt64(piece[index])
      }
      outcome.bodyBytes += count
      outcome.consumed += consumed
    case .needMore(let consumed):
      precondition(consumed == piece.count)
      outcome.consumed += consumed
      if outcome.consumed == bytes.count { return outcome }
    case .end(let consumed):
      outcome.consumed += consumed
      outcome.isFinished = true
      return outcome
    case .failed(let error):
      outcome.consumed = 0
      outcome.error = error
      return outcome
    }
  }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzChunked(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  let bytes = unsafe Bytes(base: start, count: count)
  let whole = decode(bytes, pieceLength: count)
  precondition(whole == decode(bytes, pieceLength: 1))
  precondition(whole == decode(bytes, pieceLength: 3))
  return 0
}

// Fuzzes the search for frames: in one piece and byte by byte it must find the same ones.
// with: Client/H2FrameScanner.swift

private struct Frame: Equatable {
  var start: Int
  var length: Int
  var type: UInt8
  var flags: UInt8
  var streamID: Int32
  var first: Int32?
  var dataCount: Int?
}

private func frames(_ bytes: Bytes, pieceLength: Int) -> [Frame] {
  var scanner = H2FrameScanner()
  var found: [Frame] = []
  var from = 0
  while from < bytes.count {
    let piece = bytes.slice(from, min(from + pieceLength, bytes.count))
    var position = 0
    while let header = scanner.next(piece, &position) {
      precondition(position > 0 && position <= piece.count && header.streamID >= 0)
      precondition(header.byteCount >= 9 && header.byteCount <= 13)
      precondition(header.byteCount - 9 <= header.length)
      precondition((header.dataCount ?? 0) <= header.length)
      found.append(
        Frame(
          start: from + position - header.byteCount, length: header.length, type: header.type,
          flags: header.flags, streamID: header.streamID, first: header.first,
          dataCount: header.dataCount))
    }
    precondition(position == piece.count)
    from += piece.count
  }
  return found
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzH2FrameScanner(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard count > 0 else { return 0 }
  let bytes = unsafe Bytes(base: start, count: count)
  let whole = frames(bytes, pieceLength: count)
  precondition(whole == frames(bytes, pieceLength: 1))
  precondition(whole == frames(bytes, pieceLength: 7))
  // Each begins where the one before ends, behind the preface.
  var expected = 24
  for frame in whole {
    precondition(frame.start == expected)
    expected += 9 + frame.length
  }
  return 0
}

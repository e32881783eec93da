// What waits to be sent to a peer: buffers, bytes that live elsewhere, pieces of files. Sent in
// order, several pieces by one system call.

import CLinux
import HTTP

/// The bytes queued for one connection.
struct OutputQueue {
  enum Segment {
    /// A buffer of the pool, given back when it is sent.
    case buffer(Buffer)
    /// Bytes whose owner keeps them until the exchange finishes.
    case bytes(Bytes)
    /// A piece of an open file.
    case file(OpenFile, offset: Int64, count: Int)
  }

  private var segments = PieceQueue<Segment>()
  /// The number of bytes queued, in memory and in files.
  @inline(__always)
  var byteCount: Int { segments.byteCount }
  /// The number of bytes queued in memory.
  @inline(__always)
  var memoryCount: Int { segments.memoryCount }
  /// Bytes handed to the kernel since the queue was reset.
  var sentCount = 0

  // Bound: about a millisecond of TLS on one core.
  private static let turnByteCount = 2 << 20
  private static let smallHeadByteCount = 4 << 10

  var isEmpty: Bool { byteCount == 0 }

  /// For how many pieces it holds memory.
  var segmentRoom: Int { segments.room }

  /// Gives the memory for pieces back, for a queue that stays empty for a while.
  mutating func releaseRoom() { segments.releaseRoom() }

  /// The last segment if it is a buffer with room for `count` more bytes.
  @inline(__always)
  func tail(room count: Int) -> Buffer? {
    guard segments.count > 0, case .buffer(let buffer) = segments[segments.count - 1],
      buffer.room >= count
    else { return nil }
    return buffer
  }

  /// Copies `bytes` behind what stands in the last segment; false: that is no buffer with room.
  mutating func appendToTail(_ bytes: Bytes) -> Bool {
    guard let tail = tail(room: bytes.count) else { return false }
    tail.append(bytes)
    extended(by: bytes.count)
    return true
  }

  /// Counts `count` bytes that were appended to the tail.
  @inline(__always)
  mutating func extended(by count: Int) { segments.addMemory(count) }

  mutating func append(_ buffer: consuming Buffer) {
    segments.addMemory(buffer.count)
    segments.append(.buffer(buffer))
  }

  mutating func append(_ bytes: Bytes) {
    guard !bytes.isEmpty else { return }
    segments.addMemory(bytes.count)
    segments.append(.bytes(bytes))
  }

  mutating func append(_ file: OpenFile, offset: Int64, count: Int) {
    guard count > 0 else { return }
    segments.addFile(count)
    file.retain()
    segments.append(.file(file, offset: offset, count: count))
  }

  /// Takes up to `limit` bytes (at least one; of a file up to `fileLimit`) off the front, for who
  /// uses the queue without a transport. The taker gives a buffer back, and releases a file.
  mutating func takeFirst(
    _ limit: Int, ofFile fileLimit: Int? = nil, _ pool: BufferPool
  ) -> Segment? {
    guard segments.count > 0 else { return nil }
    let fileLimit = fileLimit ?? limit
    switch segments[0] {
    case .buffer(let buffer) where buffer.count > limit:
      let piece = pool.take(atLeast: min(limit, buffer.count))
      piece.append(buffer.unread.prefix(limit))
      dropSent(limit, pool)
      return .buffer(piece)
    case .bytes(let bytes) where bytes.count > limit:
      dropSent(limit, pool)
      return .bytes(bytes.prefix(limit))
    case .file(let file, let offset, let count) where count > fileLimit:
      file.retain()
      segments.dropFile(fileLimit)
      segments[0] = .file(file, offset: offset + Int64(fileLimit), count: count - fileLimit)
      return .file(file, offset: offset, count: fileLimit)
    case let whole:
      removeWhole(whole)
      return whole
    }
  }

  private mutating func removeWhole(_ segment: Segment) {
    switch segment {
    case .buffer(let buffer): segments.dropMemory(buffer.count)
    case .bytes(let bytes): segments.dropMemory(bytes.count)
    case .file(_, _, let count): segments.dropFile(count)
    }
    segments.removeFirst()
  }

  /// Copies `bytes` behind what is queued, into a buffer of at least `size` if they need a new one.
  mutating func copy(_ bytes: Bytes, _ pool: BufferPool, in size: BufferPool.Size) {
    if appendToTail(bytes) { return }
    let buffer = pool.take(atLeast: max(bytes.count, size.byteCount))
    buffer.append(bytes)
    append(buffer)
  }

  /// Gives `buffer` back once everything queued before is sent: its former content is part of that.
  mutating func retire(_ buffer: Buffer) {
    buffer.truncate(0)
    segments.append(.buffer(buffer))
  }

  /// Drops everything unsent.
  mutating func removeAll(_ pool: BufferPool) {
    for index in 0..<segments.count {
      switch segments[index] {
      case .buffer(let buffer): pool.giveBack(buffer)
      case .file(let file, _, _): file.release()
      case .bytes: break
      }
    }
    segments.removeAll()
  }

  /// Sends as much as the transport takes, up to `turnByteCount`: a peer that reads as fast as we
  /// write must not keep the loop from others. `.bytes` when all is sent, `.wouldBlock` when some
  /// is left (and the transport may still be writable), `.end` when a file was shorter than
  /// promised, `.failed` when the connection is broken.
  mutating func flush(_ transport: inout Transport, _ pool: BufferPool) -> IOResult {
    let limit = sentCount + Self.turnByteCount
    while byteCount > 0 {
      if sentCount >= limit { return .wouldBlock }
      let result: IOResult
      if case .file(let file, let offset, let count) = segments[0] {
        result =
          transport.tls == nil
          ? sendFile(&transport, file, offset, count)
          : load(file, offset, count, pool)
      } else if transport.tls != nil {
        result = sendRecord(&transport, pool)
      } else {
        result = sendMemory(&transport, pool)
      }
      switch result {
      case .bytes: continue
      case .wouldBlock, .end, .failed: return result
      }
    }
    return .bytes(0)
  }

  private mutating func sendMemory(_ transport: inout Transport, _ pool: BufferPool) -> IOResult {
    if segments.count == 1 {
      let result = transport.send(memory(0), more: false)
      if case .bytes(let count) = result { dropSent(count, pool) }
      return result
    }
    // Bound: pieces per call; more go with the next one.
    let limit = 16
    return unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: limit) { vector in
      var pieces = 0
      var total = 0
      var index = 0
      var fileFollows = false
      while index < segments.count && pieces < limit {
        if case .file = segments[index] {
          fileFollows = true
          break
        }
        let bytes = memory(index)
        unsafe vector[pieces] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: bytes.unsafeBase), iov_len: bytes.count)
        pieces += 1
        total += bytes.count
        index += 1
      }
      let result: IOResult
      if pieces == 1 {
        // The head of a file: MSG_MORE lets it travel in one segment with the file's first bytes.
        result = transport.send(memory(0), more: fileFollows)
      } else {
        result = unsafe transport.send(vector.baseAddress!, count: pieces, byteCount: total)
      }
      if case .bytes(let count) = result { dropSent(count, pool) }
      return result
    }
  }

  /// Sends one TLS record's worth: a small head and the body behind it share a record.
  private mutating func sendRecord(_ transport: inout Transport, _ pool: BufferPool) -> IOResult {
    joinFile(pool)
    coalesce()
    let bytes = memory(0)
    let result = transport.send(bytes, more: false)
    if case .bytes(let count) = result { dropSent(count, pool) }
    return result
  }

  /// The first segment, if it is a small buffer with another segment behind it.
  private var smallHead: Buffer? {
    guard segments.count >= 2, case .buffer(let head) = segments[0],
      head.count < Self.smallHeadByteCount
    else { return nil }
    return head
  }

  /// Reads the beginning of a file into memory behind a small head: into its buffer, or one for
  /// both.
  private mutating func joinFile(_ pool: BufferPool) {
    guard let head = smallHead, case .file(let file, let offset, let count) = segments[1]
    else { return }
    var buffer = head
    if head.room < count {
      buffer = pool.take(head.count + count <= 16 << 10 ? .medium : .large)
      buffer.append(head.unread)
    }
    let wanted = min(count, buffer.room)
    let result = unsafe IOResult(
      linux_pread(file.fd, buffer.free.unsafeBase, wanted, offset), zeroIsEnd: true)
    guard case .bytes(let got) = result else {
      // It fails again, and is told, when it is the file's turn.
      if buffer !== head { pool.giveBack(buffer) }
      return
    }
    buffer.produced(got)
    segments.load(got)
    if buffer !== head { pool.giveBack(head) }
    if got < count {
      segments[0] = .buffer(buffer)
      segments[1] = .file(file, offset: offset + Int64(got), count: count - got)
    } else {
      file.release()
      segments[1] = .buffer(buffer)
      segments.removeFirst()
    }
  }

  /// Moves the beginning of the second segment behind a small first one.
  private mutating func coalesce() {
    guard let head = smallHead else { return }
    let moved = min(head.room, memory(1).count)
    guard moved > 0 else { return }
    head.append(memory(1).prefix(moved))
    switch segments[1] {
    case .buffer(let body) where moved < body.count: body.skip(moved)
    case .buffer(let body): body.consume(moved)
    case .bytes(let bytes): segments[1] = .bytes(bytes.dropping(moved))
    case .file: break
    }
  }

  private mutating func sendFile(
    _ transport: inout Transport, _ file: OpenFile, _ offset: Int64, _ count: Int
  ) -> IOResult {
    var position = offset
    // Bound: one call sends at most 2 MiB, so that other connections get their turn.
    let result = transport.sendFile(file.fd, offset: &position, count: min(count, 2 << 20))
    if case .bytes(let sent) = result {
      segments.dropFile(sent)
      sentCount += sent
      if sent == count {
        file.release()
        segments.removeFirst()
      } else {
        segments[0] = .file(file, offset: position, count: count - sent)
      }
    }
    return result
  }

  /// Reads a piece of a file into memory, for TLS.
  private mutating func load(
    _ file: OpenFile, _ offset: Int64, _ count: Int, _ pool: BufferPool
  ) -> IOResult {
    let buffer = pool.take(count <= 16 << 10 ? .medium : .large)
    let wanted = min(count, buffer.room)
    let result = unsafe IOResult(
      linux_pread(file.fd, buffer.free.unsafeBase, wanted, offset), zeroIsEnd: true)
    guard case .bytes(let got) = result else {
      pool.giveBack(buffer)
      return result
    }
    buffer.produced(got)
    segments.load(got)
    if got == count {
      file.release()
      segments[0] = .buffer(buffer)
    } else {
      segments[0] = .file(file, offset: offset + Int64(got), count: count - got)
      segments.prepend(.buffer(buffer))
    }
    return .bytes(got)
  }

  private func memory(_ index: Int) -> Bytes {
    switch segments[index] {
    case .buffer(let buffer): buffer.unread
    case .bytes(let bytes): bytes
    case .file: Bytes()
    }
  }

  private mutating func dropSent(_ count: Int, _ pool: BufferPool) {
    var rest = count
    segments.dropMemory(count)
    sentCount += count
    while segments.count > 0 {
      let length = memory(0).count
      if rest < length {
        switch segments[0] {
        case .buffer(let buffer): buffer.consume(rest)
        case .bytes(let bytes): segments[0] = .bytes(bytes.dropping(rest))
        case .file: break
        }
        return
      }
      if case .file = segments[0] { return }
      rest -= length
      var sent = Segment.bytes(Bytes())
      swap(&sent, &segments[0])
      if case .buffer(let buffer) = consume sent { pool.giveBack(buffer) }
      segments.removeFirst()
      if rest == 0 && (segments.count == 0 || memory(0).count > 0) { return }
    }
  }
}

// The part of a response body that waits in one stream of HTTP/2 for its turn and its window.
// Pieces go on to the connection's `OutputQueue` frame by frame, large ones without being copied.

import HTTP

/// Body bytes of one stream, in order.
struct H2BodyQueue {
  private enum Piece {
    /// A buffer of the pool. `isShared`: its beginning was handed to the connection's queue, which
    /// may still refer to it.
    case buffer(Buffer, isShared: Bool)
    /// Bytes that live until the exchange finishes.
    case bytes(Bytes)
    case file(OpenFile, offset: Int64, count: Int)
  }

  private var pieces = PieceQueue<Piece>()
  /// The number of bytes queued, in memory and in files.
  var byteCount: Int { pieces.byteCount }
  /// The number of bytes queued in memory.
  var memoryCount: Int { pieces.memoryCount }
  /// For how many pieces it holds memory.
  var pieceRoom: Int { pieces.room }

  // Bound: below this a piece is copied behind its frame's header, where it shares a system call, a
  // TLS record and a buffer with others.
  private static let copyLimit = 4 << 10

  var isEmpty: Bool { byteCount == 0 }

  /// Takes `buffer` over; a small content moves out of a large buffer, which others can use.
  mutating func append(_ buffer: consuming Buffer, _ pool: BufferPool) {
    let count = buffer.count
    pieces.addMemory(count)
    if let tail = tail(room: count) {
      tail.append(buffer.unread)
      pool.giveBack(buffer)
    } else if count * 4 <= buffer.capacity && count <= BufferPool.Size.medium.byteCount {
      let fitting = pool.take(atLeast: count)
      fitting.append(buffer.unread)
      pool.giveBack(buffer)
      pieces.append(.buffer(fitting, isShared: false))
    } else {
      pieces.append(.buffer(buffer, isShared: false))
    }
  }

  private func tail(room count: Int) -> Buffer? {
    guard pieces.count > 0, case .buffer(let buffer, let isShared) = pieces[pieces.count - 1],
      !isShared, buffer.room >= count
    else { return nil }
    return buffer
  }

  mutating func append(_ bytes: Bytes) {
    pieces.addMemory(bytes.count)
    pieces.append(.bytes(bytes))
  }

  mutating func append(_ file: OpenFile, offset: Int64, count: Int) {
    pieces.addFile(count)
    file.retain()
    pieces.append(.file(file, offset: offset, count: count))
  }

  /// How many bytes the next frame may take: at most `limit`, and of a file what could be read.
  /// Nil: a file is shorter than promised.
  mutating func prepare(_ limit: Int, _ pool: BufferPool) -> Int? {
    let wanted = min(limit, byteCount)
    guard wanted > 0, case .file(let file, let offset, let count) = pieces[0] else {
      return min(wanted, memoryBeforeFile)
    }
    let buffer = pool.take(atLeast: min(wanted, count))
    let room = buffer.free.slice(0, min(wanted, count))
    guard case .bytes(let got) = Socket.read(file.fd, into: room, at: offset), got > 0 else {
      pool.giveBack(buffer)
      return nil
    }
    buffer.produced(got)
    pieces.load(got)
    if got == count {
      file.release()
      pieces[0] = .buffer(buffer, isShared: false)
    } else {
      pieces[0] = .file(file, offset: offset + Int64(got), count: count - got)
      pieces.prepend(.buffer(buffer, isShared: false))
    }
    return got
  }

  /// Bytes in memory in front of the first piece of a file.
  private var memoryBeforeFile: Int {
    var sum = 0
    for index in 0..<pieces.count {
      switch pieces[index] {
      case .buffer(let buffer, _): sum += buffer.count
      case .bytes(let bytes): sum += bytes.count
      case .file: return sum
      }
    }
    return sum
  }

  /// Moves the first `count` bytes, all of them in memory, behind those of `output`.
  ///
  /// - Parameter maySlice: `output` may refer to pieces instead of copying them (not so for TLS,
  ///   whose records are to hold frame headers and bodies together).
  mutating func move(
    _ count: Int, to output: inout OutputQueue, maySlice: Bool, _ pool: BufferPool
  ) {
    var rest = count
    pieces.dropMemory(count)
    while rest > 0 {
      switch pieces[0] {
      case .buffer(let buffer, let isShared):
        let taken = min(rest, buffer.count)
        if maySlice && taken >= Self.copyLimit {
          if taken == buffer.count {
            output.append(buffer)
            pieces.removeFirst()
          } else {
            output.append(buffer.unread.prefix(taken))
            buffer.skip(taken)
            pieces[0] = .buffer(buffer, isShared: true)
          }
        } else {
          output.copy(buffer.unread.prefix(taken), pool, in: maySlice ? .small : .large)
          buffer.skip(taken)
          if buffer.isEmpty {
            retire(buffer, isShared, &output, pool)
            pieces.removeFirst()
          }
        }
        rest -= taken
      case .bytes(let bytes):
        let taken = min(rest, bytes.count)
        output.copy(bytes.prefix(taken), pool, in: maySlice ? .small : .large)
        if taken == bytes.count {
          pieces.removeFirst()
        } else {
          pieces[0] = .bytes(bytes.dropping(taken))
        }
        rest -= taken
      case .file: preconditionFailure("a file is read before it is moved")
      }
    }
  }

  /// Drops everything.
  mutating func removeAll(_ output: inout OutputQueue, _ pool: BufferPool) {
    for index in 0..<pieces.count {
      switch pieces[index] {
      case .buffer(let buffer, let isShared): retire(buffer, isShared, &output, pool)
      case .file(let file, _, _): file.release()
      case .bytes: break
      }
    }
    pieces.removeAll()
  }

  /// A buffer that `output` may refer to goes back to the pool when that is sent.
  private func retire(
    _ buffer: Buffer, _ isShared: Bool, _ output: inout OutputQueue, _ pool: BufferPool
  ) {
    if isShared && !output.isEmpty {
      output.retire(buffer)
    } else {
      pool.giveBack(buffer)
    }
  }
}

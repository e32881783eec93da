// Pieces of bytes in the order in which they leave, with how many bytes they are: what
// `OutputQueue` and `H2BodyQueue` have in common. They say what a piece is, and count its bytes.
//
//   slots:  [ taken … taken | 0, 1, 2 … ]
//                             └ first
//
// Pieces are taken off the front without moving those behind. A queue that never runs empty must
// not grow with what went through it: taken slots are used again by what is put in front (the next
// bytes of a file), and are removed when they are half of all.

/// Pieces in order; index 0 is the one that leaves next.
struct PieceQueue<Piece> {
  private var slots: [Piece] = []
  private var first = 0
  /// The number of bytes in the pieces, in memory and in files.
  private(set) var byteCount = 0
  /// The number of bytes in memory.
  private(set) var memoryCount = 0

  // Bound: so few taken slots stay where they are.
  private static var keptSlots: Int { 16 }

  // Idle connections keep this room, 32 bytes a piece: enough for a head, a small body and the
  // ends of chunks. A queue that once grew keeps its size.
  init() { slots.reserveCapacity(4) }

  /// The number of pieces.
  @inline(__always)
  var count: Int { slots.count - first }

  /// For how many pieces it holds memory.
  var room: Int { slots.capacity }

  @inline(__always)
  subscript(index: Int) -> Piece {
    _read { yield slots[first + index] }
    _modify { yield &slots[first + index] }
  }

  @inline(__always)
  mutating func append(_ piece: consuming Piece) { slots.append(piece) }

  /// Puts `piece` in front of all others.
  mutating func prepend(_ piece: consuming Piece) {
    if first > 0 {
      first -= 1
      slots[first] = piece
    } else {
      slots.insert(piece, at: 0)
    }
  }

  mutating func removeFirst() {
    first += 1
    if first == slots.count {
      while slots.popLast() != nil {}
      first = 0
    } else if first >= Self.keptSlots && first * 2 >= slots.count {
      // Without this a slow reader of 1 GB held 0.5 MB of slots.
      slots.removeSubrange(0..<first)
      first = 0
    }
  }

  /// Forgets all pieces and their bytes; whoever owns these has given them back.
  mutating func removeAll() {
    slots.removeAll(keepingCapacity: true)
    first = 0
    byteCount = 0
    memoryCount = 0
  }

  /// Gives the memory for pieces back, for a queue that stays empty for a while.
  mutating func releaseRoom() {
    if slots.isEmpty { slots = [] }
  }

  // --- bytes -------------------------------------------------------------------------------------

  /// Counts `count` bytes in memory that came.
  @inline(__always)
  mutating func addMemory(_ count: Int) {
    byteCount += count
    memoryCount += count
  }

  /// Counts `count` bytes in memory that left.
  @inline(__always)
  mutating func dropMemory(_ count: Int) {
    byteCount -= count
    memoryCount -= count
  }

  /// Counts `count` bytes of a file that came.
  @inline(__always)
  mutating func addFile(_ count: Int) { byteCount += count }

  /// Counts `count` bytes of a file that left.
  @inline(__always)
  mutating func dropFile(_ count: Int) { byteCount -= count }

  /// `count` bytes of a file were read into memory.
  @inline(__always)
  mutating func load(_ count: Int) { memoryCount += count }
}

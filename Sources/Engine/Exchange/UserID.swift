// What tells clients apart (`userid`): sixteen bytes, which Apache's mod_uid made first.
//
//   service, time, start of the worker, count          four words; in version 2 in network order

import HTTP

/// The identifier of a client.
struct UserID: Equatable {
  /// The bytes in fours, as a little-endian machine reads them, which is how variables show them.
  private(set) var words: (UInt32, UInt32, UInt32, UInt32)

  static func == (one: UserID, other: UserID) -> Bool { one.words == other.words }

  init(_ words: (UInt32, UInt32, UInt32, UInt32)) { self.words = words }

  /// The identifier in a cookie: 22 digits of base 64 and whatever follows; nil if it is none.
  init?(cookie: Bytes, _ arena: inout Arena) {
    guard cookie.count >= 22 else { return nil }
    let bytes = arena.allocate(18)
    guard Base64.decode(cookie.prefix(22), into: bytes) == 16 else { return nil }
    func word(_ start: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
    }
    words = (word(0), word(4), word(8), word(12))
    // Nobody was given one whose last word is zero.
    if words.3 == 0 { return nil }
  }

  private var all: [UInt32] { [words.0, words.1, words.2, words.3] }

  /// The value of a cookie, 24 bytes, with `mark` in the place of its first padding digit.
  func writeCookie(mark: UInt8?, into output: MutableBytes) {
    let bytes = all.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
    _ = bytes.withBytes { Base64.encode($0, into: output) }
    if let mark { output[22] = mark }
  }

  /// 32 hexadecimal digits.
  func writeHex(into output: MutableBytes) {
    for (index, word) in all.enumerated() {
      for place in 0..<8 {
        output[8 * index + place] = ASCII.hexDigit(UInt8(word >> UInt32(28 - 4 * place) & 15))
      }
    }
  }
}

/// What one worker makes identifiers of.
struct UserIDMaker {
  private let start = UInt32.random(in: 1...UInt32.max)
  // As in nginx: the last byte says the version.
  private var count: (v1: UInt32, v2: UInt32) = (1, 0x0303_0302)

  /// A new identifier; of the service 0 by default. `address` is the server's.
  mutating func make(
    _ settings: UserIDSettings, address: @autoclosure () -> SocketAddress, unixSeconds: Int
  ) -> UserID {
    let time = UInt32(truncatingIfNeeded: unixSeconds)
    guard settings.mode == .on else {
      count.v1 &+= 0x100
      return UserID((settings.service ?? 0, time, start, count.v1))
    }
    count.v2 = count.v2 &+ 0x100
    if count.v2 < 0x0303_0302 { count.v2 = 0x0303_0302 }
    let service = settings.service ?? Self.lastFour(address())
    return UserID(
      (service.byteSwapped, time.byteSwapped, start.byteSwapped, count.v2.byteSwapped))
  }

  /// The last four bytes of an address; 0 of a Unix socket.
  private static func lastFour(_ address: SocketAddress) -> UInt32 {
    guard let ip = address.ip else { return 0 }
    return (ip.byteCount - 4..<ip.byteCount).reduce(0) { $0 << 8 | UInt32(ip.byte($1)) }
  }
}

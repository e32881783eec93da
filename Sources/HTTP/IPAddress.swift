// IP addresses as text and as numbers: PROXY protocol headers and fields such as X-Forwarded-For
// name clients so. Read without allocating and without the C library; what isn't exactly an address
// is none.
//
// Strict as inet_pton(3): four decimal parts without leading zeros, or RFC 4291 §2.2 in any of its
// three forms; no zone.

/// An IPv4 or IPv6 address.
public struct IPAddress: BitwiseCopyable, Hashable, Sendable {
  /// The address as a number in the order of the network; an IPv4 address is the last 32 bits of
  /// `low`.
  public var high: UInt64
  public var low: UInt64
  public var isV6: Bool

  public init(v4 number: UInt32) {
    high = 0
    low = UInt64(number)
    isV6 = false
  }

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
    isV6 = true
  }

  /// Four or sixteen bytes in the order of the network; nil for any other count.
  public init?(bytes: Bytes) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    var (high, low) = (UInt64(0), UInt64(0))
    for index in 0..<bytes.count {
      high = high << 8 | low >> 56
      low = low << 8 | UInt64(bytes[index])
    }
    (self.high, self.low, isV6) = (high, low, bytes.count == 16)
  }

  /// A literal without brackets; nil for anything else.
  public init?(_ text: Bytes) {
    if text.firstIndex(of: UInt8(ascii: ":")) != nil {
      guard let parsed = Self.parseV6(text) else { return nil }
      self = parsed
    } else {
      guard let number = Self.parseV4(text) else { return nil }
      self.init(v4: number)
    }
  }

  /// Byte `index` of four or sixteen.
  public func byte(_ index: Int) -> UInt8 {
    let position = isV6 ? index : index + 12
    let word = position < 8 ? high : low
    return UInt8(truncatingIfNeeded: word >> UInt64((7 - position & 7) * 8))
  }

  /// The number of bytes: 4 or 16.
  public var byteCount: Int { isV6 ? 16 : 4 }

  /// An IPv6 address that stands for an IPv4 one (::ffff:10.0.0.1), as that one.
  public var unmapped: IPAddress {
    guard isV6, high == 0, low >> 32 == 0xffff else { return self }
    return IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }

  private static func parseV4(_ text: Bytes) -> UInt32? {
    var (number, part, parts, digits) = (UInt32(0), UInt32(0), 0, 0)
    for index in 0...text.count {
      if index == text.count || text[index] == UInt8(ascii: ".") {
        guard digits > 0, part <= 255, parts < 4 else { return nil }
        number = number << 8 | part
        (part, digits, parts) = (0, 0, parts + 1)
        continue
      }
      let digit = text[index] &- UInt8(ascii: "0")
      // No leading zeros: some would read them as octal.
      guard digit <= 9, digits < 3, digits == 0 || part != 0 else { return nil }
      part = part * 10 + UInt32(digit)
      digits += 1
    }
    return parts == 4 ? number : nil
  }

  private static func parseV6(_ text: Bytes) -> IPAddress? {
    var groups = GroupList()
    /// How many groups stand before "::".
    var gap: Int?
    var position = 0
    if text.count >= 2, text[0] == UInt8(ascii: ":") {
      guard text[1] == UInt8(ascii: ":") else { return nil }
      gap = 0
      position = 2
    }
    while position < text.count {
      var end = position
      while end < text.count && text[end] != UInt8(ascii: ":") { end += 1 }
      let group = text.slice(position, end)
      if end == text.count, group.firstIndex(of: UInt8(ascii: ".")) != nil {
        guard let number = parseV4(group), groups.append(UInt16(number >> 16)),
          groups.append(UInt16(truncatingIfNeeded: number))
        else { return nil }
        position = end
        break
      }
      guard let value = parseGroup(group), groups.append(value) else { return nil }
      if end == text.count { break }
      position = end + 1
      if position == text.count { return nil }  // a single colon at the end
      if text[position] == UInt8(ascii: ":") {
        guard gap == nil else { return nil }
        gap = groups.count
        position += 1
      }
    }
    return groups.address(gap: gap)
  }

  private static func parseGroup(_ text: Bytes) -> UInt16? {
    guard (1...4).contains(text.count) else { return nil }
    var value: UInt16 = 0
    for index in 0..<text.count {
      guard let digit = ASCII.hexValue(text[index]) else { return nil }
      value = value << 4 | UInt16(digit)
    }
    return value
  }

  /// Up to eight groups, shifted in from the right.
  private struct GroupList {
    var high: UInt64 = 0
    var low: UInt64 = 0
    var count = 0

    mutating func append(_ group: UInt16) -> Bool {
      guard count < 8 else { return false }
      high = high << 16 | low >> 48
      low = low << 16 | UInt64(group)
      count += 1
      return true
    }

    /// The address, with zeros for the groups that "::" behind group `gap` leaves out.
    func address(gap: Int?) -> IPAddress? {
      guard let gap else { return count == 8 ? IPAddress(high: high, low: low) : nil }
      guard count < 8 else { return nil }
      // The groups behind the gap stay where they are; those before it move up.
      let behind = (count - gap) * 16
      let missing = (8 - count) * 16
      let all = UInt128(high) << 64 | UInt128(low)
      let tail = behind == 0 ? 0 : all & (UInt128.max >> UInt128(128 - behind))
      let head = behind == 128 ? 0 : (all >> UInt128(behind)) << UInt128(behind)
      let moved = head << UInt128(missing) | tail
      return IPAddress(
        high: UInt64(truncatingIfNeeded: moved >> 64), low: UInt64(truncatingIfNeeded: moved))
    }
  }
}

/// An address with the port that may stand behind it.
public struct IPEndpoint: BitwiseCopyable, Hashable, Sendable {
  public var address: IPAddress
  /// 0: none was given.
  public var port: UInt16

  public init(_ address: IPAddress, port: UInt16 = 0) {
    self.address = address
    self.port = port
  }

  /// `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]`, `[::1]:80` (RFC 3986 §3.2.2); nil for anything
  /// else.
  public init?(_ text: Bytes) {
    if let address = IPAddress(text) {
      self.init(address)
      return
    }
    var end: Int
    var host: Bytes
    if text.count > 0 && text[0] == UInt8(ascii: "[") {
      guard let bracket = text.firstIndex(of: UInt8(ascii: "]")) else { return nil }
      host = text.slice(1, bracket)
      end = bracket + 1
      guard host.firstIndex(of: UInt8(ascii: ":")) != nil else { return nil }
    } else {
      guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return nil }
      host = text.prefix(colon)
      end = colon
    }
    guard let address = IPAddress(host) else { return nil }
    if end == text.count {
      self.init(address)
      return
    }
    guard text[end] == UInt8(ascii: ":"), let port = Self.port(text.dropping(end + 1)) else {
      return nil
    }
    self.init(address, port: port)
  }

  /// One to five decimal digits, at most 65535.
  public static func port(_ text: Bytes) -> UInt16? {
    guard (1...5).contains(text.count), let number = text.decimal, number <= 65_535 else {
      return nil
    }
    return UInt16(number)
  }
}

/// All addresses that begin with the same bits: `10.0.0.0/8`.
public struct IPNetwork: BitwiseCopyable, Hashable, Sendable {
  public let address: IPAddress
  public let prefixLength: Int
  private let highMask: UInt64
  private let lowMask: UInt64

  /// The network of `address`; bits behind the prefix don't count. Nil if it has fewer bits.
  public init?(_ address: IPAddress, prefixLength: Int) {
    let width = address.isV6 ? 128 : 32
    guard (0...width).contains(prefixLength) else { return nil }
    let isMapped = address.isV6 && !address.unmapped.isV6 && prefixLength >= 96
    // Both kinds as 128 bits, IPv4 behind 96 bits that always count.
    let length = UInt128(prefixLength + (address.isV6 ? 0 : 96))
    let mask = length == 0 ? 0 : UInt128.max << (128 - length)
    (highMask, lowMask) = (UInt64(truncatingIfNeeded: mask >> 64), UInt64(truncatingIfNeeded: mask))
    self.address = isMapped ? address.unmapped : address
    self.prefixLength = isMapped ? prefixLength - 96 : prefixLength
  }

  /// An address alone, or one with the length of its prefix behind a slash.
  public init?(_ text: Bytes) {
    guard let slash = text.firstIndex(of: UInt8(ascii: "/")) else {
      guard let address = IPAddress(text) else { return nil }
      self.init(address, prefixLength: address.byteCount * 8)
      return
    }
    guard let address = IPAddress(text.prefix(slash)),
      (1...3).contains(text.count - slash - 1), let length = text.dropping(slash + 1).decimal
    else { return nil }
    self.init(address, prefixLength: Int(length))
  }

  /// Whether the address is of this network. An IPv4 address written in IPv6 counts as itself.
  @inline(__always)
  public func contains(_ other: IPAddress) -> Bool {
    let other = other.unmapped
    return other.isV6 == address.isV6 && (other.high ^ address.high) & highMask == 0
      && (other.low ^ address.low) & lowMask == 0
  }
}

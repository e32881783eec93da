// What a peer of HTTP/2 owes of its windows. A WINDOW_UPDATE that gives back no more than was used
// is no flood, however small: Go sends two for each piece that its application reads, and
// applications read 512 bytes at a time.

/// The bytes of a peer's windows that were used and not given back.
struct H2OwedWindow: BitwiseCopyable {
  // Bound: bytes that are given back by frames that cost nothing.
  private static let limit = 32 << 20
  /// As how many bytes each of them counts at least.
  private static let leastGivenBack = 64

  private var byteCount = 0

  /// So many bytes of bodies were sent: they use the windows of a stream and of the connection.
  mutating func use(_ count: Int) { byteCount = min(byteCount + 2 * count, Self.limit) }

  /// Whether a WINDOW_UPDATE by `increment` bytes gives back what was used, which is then counted.
  mutating func takeBack(_ increment: Int) -> Bool {
    guard increment > 0, increment <= byteCount else { return false }
    byteCount = max(0, byteCount - max(increment, Self.leastGivenBack))
    return true
  }
}

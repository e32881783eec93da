// The chunked transfer coding (RFC 9112 §7.1), both ways.
//
// The decoder is fed whatever was received and says which part of it is body: the bytes stay where
// they are, nothing is copied or kept. It is as strict as the head parsers: sizes are hexadecimal
// digits only, each line ends with CR LF, data is followed by CR LF exactly. Extensions are
// skipped, trailers are checked as fields and passed over (`trailerStart` says where they are, for
// who wants them); both are bounded.
//
//   size ─► (space ─►) (extension ─►) sizeEnd ─► data ─► dataCR ─► dataLF ─► size …
//                                        └─ size 0 ─► lineStart ─► name ─► value ─► lineEnd ─┐
//                                                     ▲   └─ CR ─► lastLF ─► end             │
//                                                     └──────────────────────────────────────┘

/// One step of decoding. `consumed` counts the bytes of the input that are done with.
public enum ChunkStep: BitwiseCopyable, Equatable, Sendable {
  /// `count` bytes of body at `start` of the input; they are consumed, too.
  case data(start: Int, count: Int, consumed: Int)
  /// The input is used up and the body isn't over.
  case needMore(consumed: Int)
  /// The body is over; what follows in the input is the next message.
  case end(consumed: Int)
  /// The body is refused, and the connection can't be used any more.
  case failed(ChunkedError)
}

/// Why a chunked body is refused: a client gets 400, or what has begun is cut off.
public enum ChunkedError: Error, BitwiseCopyable, Equatable, CaseIterable, Sendable {
  /// No hexadecimal digit where a size begins, or something else behind it (RFC 9112 §7.1).
  case invalidSize
  /// More than 15 digits (RFC 9112 §7.1: recipients must anticipate large numerals).
  case sizeTooLarge
  /// A line that doesn't end with CR LF, or data that isn't followed by it (RFC 9112 §7.1).
  case missingLineEnd
  /// A control character in an extension or a trailer (RFC 9112 §7.1.1, RFC 9110 §5.5).
  case controlCharacter
  /// A trailer line that isn't `name: value` (RFC 9112 §7.1.2).
  case malformedTrailer
  /// Extensions that outweigh the data, or too many trailers.
  case tooMuchOverhead
}

/// A resumable decoder of chunked bodies.
public struct ChunkedDecoder: BitwiseCopyable, Sendable {
  /// Bound: digits of a size, so that it can't overflow.
  private static let maxDigits = 15
  /// Bound: bytes of extensions by which a body may be ahead of its data, as in Go's net/http: a
  /// signature on each chunk passes, a body of extensions doesn't.
  private static let maxExcessBytes = 16 * 1024
  /// Bound: bytes of trailers.
  public static let maxTrailerBytes = 16 * 1024

  private enum State: UInt8 {
    case size, spaceAfterSize, extensions, sizeEnd, data, dataCR, dataLF
    case lineStart, name, value, lineEnd, lastLF, end
  }

  private var state = State.size
  private var digits: UInt8 = 0
  private var remaining = 0
  private var excessBytes = 0
  private var trailerBytes = 0

  /// Where the trailers begin in the input that `next` was given last, or -1: it has none. They go
  /// on to the end of what was consumed; an empty line ends them.
  public private(set) var trailerStart = -1

  /// A decoder at the start of a body.
  public init() {}

  /// Whether the body is over.
  public var isFinished: Bool { state == .end }

  /// Takes the next step. To be called again, with the rest of the input, after `.data`.
  public mutating func next(_ input: Bytes) -> ChunkStep {
    var index = 0
    trailerStart = state.rawValue >= State.lineStart.rawValue ? 0 : -1
    while index < input.count {
      switch state {
      case .data:
        let count = min(remaining, input.count - index)
        remaining -= count
        if remaining == 0 { state = .dataCR }
        return .data(start: index, count: count, consumed: index + count)
      case .end:
        return .end(consumed: index)
      default:
        if let error = advance(over: input[index]) { return .failed(error) }
        index += 1
        if state == .lineStart && trailerStart < 0 { trailerStart = index }
      }
    }
    return state == .end ? .end(consumed: index) : .needMore(consumed: index)
  }

  /// Moves over one byte that isn't data.
  private mutating func advance(over byte: UInt8) -> ChunkedError? {
    switch state {
    case .size, .spaceAfterSize, .extensions, .sizeEnd: return advanceSizeLine(byte)
    case .dataCR:
      state = .dataLF
      return byte == 0x0D ? nil : .missingLineEnd
    case .dataLF:
      state = .size
      return byte == 0x0A ? nil : .missingLineEnd
    default: return advanceTrailer(byte)
    }
  }

  private mutating func advanceSizeLine(_ byte: UInt8) -> ChunkedError? {
    switch state {
    case .size:
      if let digit = ASCII.hexValue(byte) {
        if digits == ChunkedDecoder.maxDigits { return .sizeTooLarge }
        digits += 1
        remaining = remaining << 4 | Int(digit)
        return nil
      }
      return digits == 0 ? .invalidSize : endSize(byte)
    case .spaceAfterSize:
      return endSize(byte)
    case .extensions:
      if byte == 0x0D {
        state = .sizeEnd
        return nil
      }
      if byte == 0x0A { return .missingLineEnd }
      if byte < 0x20 && byte != 0x09 || byte == 0x7F { return .controlCharacter }
      return countExcess()
    default:
      guard byte == 0x0A else { return .missingLineEnd }
      excessBytes = max(0, excessBytes - remaining)
      state = remaining == 0 ? .lineStart : .data
      digits = 0
      return nil
    }
  }

  /// What may follow the digits: the end of the line, an extension, and white space, which some
  /// servers pad their sizes with.
  private mutating func endSize(_ byte: UInt8) -> ChunkedError? {
    switch byte {
    case 0x0D:
      state = .sizeEnd
      return nil
    case 0x3B:
      state = .extensions
      return countExcess()
    case 0x20, 0x09:
      state = .spaceAfterSize
      return countExcess()
    case 0x0A: return .missingLineEnd
    default: return .invalidSize
    }
  }

  private mutating func countExcess() -> ChunkedError? {
    excessBytes += 1
    return excessBytes > ChunkedDecoder.maxExcessBytes ? .tooMuchOverhead : nil
  }

  private mutating func advanceTrailer(_ byte: UInt8) -> ChunkedError? {
    trailerBytes += 1
    if trailerBytes > ChunkedDecoder.maxTrailerBytes { return .tooMuchOverhead }
    switch state {
    case .lineStart where byte == 0x0D:
      state = .lastLF
    case .lineStart:
      guard CharacterSet.token.contains(byte) else { return .malformedTrailer }
      state = .name
    case .name where byte == 0x3A:
      state = .value
    case .name:
      guard CharacterSet.token.contains(byte) else { return .malformedTrailer }
    case .value where byte == 0x0D:
      state = .lineEnd
    case .value:
      if byte == 0x0A { return .missingLineEnd }
      if byte < 0x20 && byte != 0x09 || byte == 0x7F { return .controlCharacter }
    default:
      guard byte == 0x0A else { return .missingLineEnd }
      state = state == .lastLF ? .end : .lineStart
    }
    return nil
  }
}

/// Writes chunked bodies: a header, the caller's data, `dataEnd`, and `bodyEnd` after the last.
public enum ChunkedEncoder {
  /// The longest header: 16 digits and CR LF.
  public static let maxHeaderLength = 18

  /// Goes behind the data of each chunk.
  public static var dataEnd: Bytes { Bytes("\r\n") }

  /// Ends the body, without trailers.
  public static var bodyEnd: Bytes { Bytes("0\r\n\r\n") }

  /// Writes the header of a chunk, `1a2b CR LF`, and gives its length.
  ///
  /// - Precondition: `size` is positive (0 would end the body), `out` has room for it;
  ///   `maxHeaderLength` always is enough.
  public static func writeHeader(size: Int, into out: MutableBytes) -> Int {
    precondition(size > 0)
    let digits = (Int.bitWidth - size.leadingZeroBitCount + 3) / 4
    for index in 0..<digits {
      let digit = UInt8(truncatingIfNeeded: size >> ((digits - 1 - index) * 4)) & 0xF
      out[index] = digit < 10 ? 0x30 + digit : 0x57 + digit
    }
    out[digits] = 0x0D
    out[digits + 1] = 0x0A
    return digits + 2
  }
}

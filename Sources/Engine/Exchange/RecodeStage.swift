// Turning a body from one character set into another: `charset` with `source_charset`
// (https://nginx.org/en/docs/http/ngx_http_charset_module.html).

import HTTP

/// Recodes by a table of the plan.
final class RecodeStage: BodyStage {
  private let table: RecodeTable
  // The beginning of a character of UTF-8 whose end hasn't come.
  private var partial: UInt32 = 0
  private var missing = 0
  private var least: UInt32 = 0

  init(_ table: RecodeTable) { self.table = table }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    switch table {
    case .bytes(let bytes): return replace(&input, output, bytes)
    case .toUTF8(let sequences): return encode(&input, output, sequences)
    case .fromUTF8(let bytes):
      let outcome = decode(&input, output, bytes)
      if outcome == .done && goal == .end && missing > 0 { giveUp(output) }
      return outcome
    }
  }

  private func replace(_ input: inout Bytes, _ output: Buffer, _ bytes: [UInt8]) -> Outcome {
    let count = min(input.count, output.room)
    let room = output.free
    for index in 0..<count { room[index] = bytes[Int(input[index])] }
    output.produced(count)
    input = input.dropping(count)
    return input.isEmpty ? .done : .needsRoom
  }

  private func encode(_ input: inout Bytes, _ output: Buffer, _ sequences: [UInt32]) -> Outcome {
    var position = 0
    while position < input.count {
      guard output.room >= 4 else { break }
      var sequence = sequences[Int(input[position])]
      position += 1
      repeat {
        output.append(UInt8(truncatingIfNeeded: sequence))
        sequence >>= 8
      } while sequence != 0
    }
    input = input.dropping(position)
    return input.isEmpty ? .done : .needsRoom
  }

  // --- from UTF-8 --------------------------------------------------------------------------------

  // Bound: "&#1114111;" is the longest that one byte of input leads to, behind a "?".
  private static let longest = 16

  private func decode(
    _ input: inout Bytes, _ output: Buffer, _ bytes: [UInt32: UInt8]
  ) -> Outcome {
    var position = 0
    while position < input.count {
      guard output.room >= Self.longest else { break }
      let byte = input[position]
      position += 1
      if missing > 0 {
        if byte & 0xC0 == 0x80 {
          partial = partial << 6 | UInt32(byte & 0x3F)
          missing -= 1
          if missing == 0 { write(partial >= least ? partial : nil, output, bytes) }
          continue
        }
        giveUp(output)
      }
      begin(byte, output, bytes)
    }
    input = input.dropping(position)
    return input.isEmpty ? .done : .needsRoom
  }

  /// Takes the first byte of a character (RFC 3629 §4).
  private func begin(_ byte: UInt8, _ output: Buffer, _ bytes: [UInt32: UInt8]) {
    switch byte {
    case 0..<0x80: write(UInt32(byte), output, bytes)
    case 0xC2..<0xE0: (partial, missing, least) = (UInt32(byte & 0x1F), 1, 0x80)
    case 0xE0..<0xF0: (partial, missing, least) = (UInt32(byte & 0x0F), 2, 0x800)
    case 0xF0..<0xF5: (partial, missing, least) = (UInt32(byte & 0x07), 3, 0x1_0000)
    default: output.append(CharsetMap.unknown)
    }
  }

  /// A character that broke off.
  private func giveUp(_ output: Buffer) {
    missing = 0
    output.append(CharsetMap.unknown)
  }

  /// A character as a byte, or by its number where the other set lacks it.
  private func write(_ point: UInt32?, _ output: Buffer, _ bytes: [UInt32: UInt8]) {
    guard let point, point <= 0x10FFFF else { return output.append(CharsetMap.unknown) }
    if let byte = bytes[point] { return output.append(byte) }
    output.append(Bytes("&#"))
    output.produced(writeDecimal(Int(point), into: output.free))
    output.append(UInt8(ascii: ";"))
  }
}

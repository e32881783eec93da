// Chance in tests, the same in every run, so that a failure can be repeated.

/// Numbers that follow from a seed (SplitMix64).
public struct Dice: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  /// A number from 0 up to, but not including, `sides`.
  public mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &self) }

  /// One of several.
  public mutating func pick<Element>(_ choices: [Element]) -> Element {
    choices[roll(choices.count)]
  }

  /// The bytes with some changed, left out, doubled, put in between or cut off at the end.
  public mutating func mangled(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    if roll(4) == 0 { bytes.removeLast(roll(bytes.count)) }
    for _ in 0..<roll(4) where !bytes.isEmpty {
      let place = roll(bytes.count)
      let end = min(bytes.count, place + 1 + roll(20))
      switch roll(5) {
      case 0: bytes[place] = UInt8(roll(256))
      case 1: bytes.removeSubrange(place..<end)
      case 2: bytes.insert(contentsOf: bytes[place..<end], at: roll(bytes.count))
      case 3: bytes.insert(pick(Array("\r\n :;,=\0\"9".utf8)), at: place)
      default:
        let run = [UInt8](repeating: UInt8(ascii: "x"), count: pick([100, 5_000, 70_000]))
        bytes.insert(contentsOf: run, at: place)
      }
    }
    return bytes
  }
}

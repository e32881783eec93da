// The ports of a site's placeholders.

import TestSupport

/// The ports behind %%PORT_n%%.
final class Ports: @unchecked Sendable {
  private var held: [Int: HeldPort] = [:]

  /// The port behind %%PORT_index%%.
  func number(_ index: Int) -> UInt16 {
    if let known = held[index] { return known.number }
    let port = HeldPort()
    held[index] = port
    return port.number
  }
}

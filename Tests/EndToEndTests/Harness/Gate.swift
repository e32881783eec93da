// Holds a scripted server's answer back until the test has seen what it wants to see before.

import Foundation
import Synchronization

/// Closed until it is opened, once and for all.
final class Gate: Sendable {
  private let isOpen = Atomic(false)

  func open() { isOpen.store(true, ordering: .releasing) }

  /// Returns when it is open, or after so long that the test has given up.
  func wait() {
    try? waitUntil("the gate to open", within: 2 * patience) { isOpen.load(ordering: .acquiring) }
  }
}

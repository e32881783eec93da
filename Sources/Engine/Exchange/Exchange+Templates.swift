// Evaluating compiled words: literals, variables and captures joined in the arena.

import HTTP

extension Exchange {
  /// The value of `template` for this exchange; lives until the exchange finishes.
  @inline(__always)
  func evaluate(_ template: Template) -> Bytes {
    if let literal = template.literal { return literal }
    return join(template, escapingCaptures: false)
  }

  /// The same, with captures percent-encoded as arguments (for redirects).
  func evaluate(_ template: Template, escapingCaptures: Bool) -> Bytes {
    if let literal = template.literal { return literal }
    return join(template, escapingCaptures: escapingCaptures)
  }

  private func join(_ template: Template, escapingCaptures: Bool) -> Bytes {
    if template.parts.count == 1 {
      return value(of: template.parts[0], escapingCaptures: escapingCaptures)
    }
    // Values are computed first, since computing them may allocate in the arena as well.
    return withUnsafeValues(template, escapingCaptures: escapingCaptures)
  }

  private func withUnsafeValues(_ template: Template, escapingCaptures: Bool) -> Bytes {
    let count = template.parts.count
    return unsafe withUnsafeTemporaryAllocation(of: Bytes.self, capacity: count) { pieces in
      var total = 0
      for index in 0..<count {
        let piece = value(of: template.parts[index], escapingCaptures: escapingCaptures)
        unsafe pieces.initializeElement(at: index, to: piece)
        total += piece.count
      }
      let room = arena.allocate(total)
      var position = 0
      for index in 0..<count {
        let piece = unsafe pieces[index]
        room.copy(piece, at: position)
        position += piece.count
      }
      return room.readOnly
    }
  }

  private func value(of part: Template.Part, escapingCaptures: Bool) -> Bytes {
    switch part {
    case .literal(let bytes): return bytes
    case .variable(let variable): return value(of: variable) ?? Bytes()
    case .capture(let group):
      let bytes = captures.capture(group) ?? Bytes()
      return escapingCaptures ? escape(bytes, .args) : bytes
    }
  }

  /// `bytes` percent-encoded, in the arena unless nothing needs it.
  func escape(_ bytes: Bytes, _ kind: EscapeKind) -> Bytes {
    let count = Escape.count(bytes, kind: kind)
    if count == 0 { return bytes }
    let room = arena.allocate(bytes.count + 2 * count)
    _ = Escape.write(bytes, kind: kind, into: room)
    return room.readOnly
  }

  func concatenate(_ first: Bytes, _ second: Bytes, _ third: Bytes = Bytes()) -> Bytes {
    let room = arena.allocate(first.count + second.count + third.count)
    room.copy(first, at: 0)
    room.copy(second, at: first.count)
    room.copy(third, at: first.count + second.count)
    return room.readOnly
  }
}

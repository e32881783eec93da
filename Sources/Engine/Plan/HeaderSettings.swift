// What the directives about fields of responses amount to.

import HTTP

/// `add_header`, `add_trailer`, `expires`.
struct HeaderSettings {
  /// `add_header_inherit` and its like: what becomes of the lines of the block around.
  enum Inheritance: String, CaseIterable {
    /// They hold unless this block has lines of its own.
    case on
    /// They don't hold.
    case off
    /// They hold behind those of this block.
    case merge
  }

  var addedInheritance = Inheritance.on
  var trailerInheritance = Inheritance.on
  var added: [AddedHeader] = []
  var trailers: [AddedHeader] = []
  var expires = Expires.off
  var userID = UserIDSettings()
}

/// One `add_header`.
struct AddedHeader {
  var name: Bytes
  var value: Template
  var always: Bool
}

/// `expires`.
enum Expires {
  case off, epoch, max
  /// Seconds from now, or from the file's modification.
  case after(Int, modified: Bool)
  /// Seconds after midnight.
  case daily(Int)
  /// Computed per exchange: from now, or from the file's modification.
  case variable(Template, modified: Bool)
}

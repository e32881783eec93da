// What the directives about fields of responses amount to.

import HTTP

/// `add_header`, `add_trailer`, `expires`.
struct HeaderSettings {
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

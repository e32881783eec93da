// What answers for a folder without an index file: a list of its files, or one of them.

/// The `autoindex_` directives and `random_index`.
struct ListingSettings: BitwiseCopyable {
  /// The form of a list.
  enum Format: String, CaseIterable { case html, xml, json, jsonp }

  var isOn = false
  var format = Format.html
  /// Sizes in bytes, not rounded; in HTML.
  var isExact = true
  /// Times in the local zone, not UTC; in HTML.
  var isLocal = false
  /// `random_index`: one of the folder's files answers.
  var picksRandomly = false
}

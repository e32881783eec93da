// The version of portico, for the command line and for `server_tokens on`.

/// What this software calls itself.
enum Version {
  static let number = "0.1.0"
  /// Name and version, as a Server field tells them (RFC 9110 §10.2.4).
  static let product = "portico/\(number)"
}

// Directives of ngx_http_userid_module
// (https://nginx.org/en/docs/http/ngx_http_userid_module.html).

import Configuration
import HTTP

/// The `userid` directives.
struct UserIDSettings {
  enum Mode: String, CaseIterable {
    case off, log, v1, on

    /// Whether clients are given identifiers.
    var gives: Bool { self == .v1 || self == .on }
  }

  enum Expiry {
    case session, max
    /// Seconds.
    case after(Int)
  }

  var mode = Mode.off
  var name = Bytes("uid")
  var domain: Bytes?
  var path = Bytes("/")
  var expiry = Expiry.session
  /// The attributes that the cookie ends with.
  var flags = Bytes()
  /// The first padding digit of cookies that are as they should be.
  var mark: UInt8?
  /// The value of P3P.
  var policy: Bytes?
  var service: UInt32?
  /// Where `$uid_reset` is kept.
  var resetSlot = 0
}

extension Row {
  static let userIDRows: [Row] = [
    Row(
      "userid", .httpServerLocation, 1...1,
      """
      Whether clients get cookies that tell them apart: `on`, `v1`, or `log` to look at those they \
      have.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.headers.userID.mode = try directive.choice(0)
      scope.location.headers.userID.resetSlot = scope.builder.define("uid_reset")
    },
    word("userid_name", \.location.headers.userID.name, "uid", "The name of that cookie."),
    word("userid_path", \.location.headers.userID.path, "/", "The path that it is for."),
    optionalWord(
      "userid_domain", \.location.headers.userID.domain, "The domain that it is for; `none`."),
    optionalWord(
      "userid_p3p", \.location.headers.userID.policy,
      "The value of a P3P field that goes with it; `none`."),
    Row(
      "userid_expires", .httpServerLocation, 1...1, "How long browsers keep it; `max`, or `off`.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.headers.userID.expiry =
        switch directive.text(0) {
        case "off": .session
        case "max": .max
        default: .after(try directive.seconds(directive.text(0), 0))
        }
    },
    Row(
      "userid_flags", .httpServerLocation, 1...3,
      "More of its attributes: `secure`, `httponly`, `samesite=strict|lax|none`.", standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.headers.userID.flags = scope.bytes(try userIDFlags(directive))
    },
    Row(
      "userid_mark", .httpServerLocation, 1...1,
      "A letter, digit or `=` in the cookie; another one there has it sent again.", standard: "off"
    ) { scope, directive throws(Refusal) in
      let word = directive.text(0)
      scope.location.headers.userID.mark = word == "off" ? nil : try userIDMark(word)
    },
    Row(
      "userid_service", .httpServerLocation, 1...1,
      "The number of who gives the identifier; by default the server's address, or 0 for `v1`.",
      standard: "—"
    ) { scope, directive throws(Refusal) in
      scope.location.headers.userID.service = UInt32(
        try directive.number(0, 0...Int(UInt32.max)))
    },
  ]

  private static func word(
    _ name: String, _ path: ReferenceWritableKeyPath<Scope, Bytes>, _ standard: String,
    _ summary: String
  ) -> Row {
    Row(name, .httpServerLocation, 1...1, summary, standard: standard) {
      scope, directive throws(Refusal) in scope[keyPath: path] = scope.bytes(directive.text(0))
    }
  }

  private static func optionalWord(
    _ name: String, _ path: ReferenceWritableKeyPath<Scope, Bytes?>, _ summary: String
  ) -> Row {
    Row(name, .httpServerLocation, 1...1, summary, standard: "none") {
      scope, directive throws(Refusal) in
      scope[keyPath: path] = directive.text(0) == "none" ? nil : scope.bytes(directive.text(0))
    }
  }

  private static func userIDFlags(_ directive: Directive) throws(Refusal) -> String {
    if directive.arguments.count == 1 && directive.text(0) == "off" { return "" }
    let known = ["secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"]
    var found: Set<String> = []
    for index in directive.arguments.indices {
      guard known.contains(directive.text(index)) else {
        throw directive.unknownParameter(index, known)
      }
      found.insert(directive.text(index))
    }
    return known.filter { found.contains($0) }.map { "; \($0)" }.joined()
  }

  private static func userIDMark(_ word: String) throws(Refusal) -> UInt8 {
    let bytes = Array(word.utf8)
    guard bytes.count == 1, let byte = bytes.first,
      byte == UInt8(ascii: "=") || ASCII.isDigit(byte) || ASCII.isLetter(byte)
    else {
      throw Refusal("\"userid_mark\" must be a letter, a digit, \"=\" or \"off\"", argument: 0)
    }
    return byte
  }
}

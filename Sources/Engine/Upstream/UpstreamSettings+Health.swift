// What the configuration says about active health checks: `health_check` and the `match` blocks
// that it names, in the syntax of NGINX Plus. Filled by the plan builder, carried out by the
// control thread. Equal settings before and after a reload mean that a running check goes on
// undisturbed.

import HTTP

/// One `health_check` directive.
struct HealthCheckSettings: Sendable, Equatable {
  /// How a server is asked whether it is well.
  enum Kind: Sendable, Equatable {
    /// A GET whose answer is looked at.
    case http
    /// A connection that is accepted is enough.
    case tcp
    /// A call of the health service of gRPC. `healthyStatus`: the grpc-status of servers without
    /// one.
    case grpc(service: String, healthyStatus: Int?)
  }

  /// From the beginning of one check to the beginning of the next.
  var interval: Milliseconds = 5_000
  /// Each check is delayed by up to this, at random, so that many do not fall together.
  var jitter: Milliseconds = 0
  /// Checks in a row that must fail before the server is out.
  var fails = 1
  /// Checks in a row that must pass before it is in again.
  var passes = 1
  var uri = "/"
  /// The port to ask instead of the server's own.
  var port: UInt16?
  var kind = Kind.http
  /// A server gets no request before it has passed.
  var isMandatory = false
  /// With `isMandatory`: what was known before a reload still holds when the check was changed.
  var isPersistent = false
  /// What the answer must be like; nil means a status from 200 to 399.
  var match: MatchSettings?
  /// What the request says in Host; empty means the upstream's name.
  var requestHost = ""
  /// How the servers are spoken to by TLS; nil: in the clear.
  var tls: HealthCheckTLS?
  /// How long one check may take; nil means the interval, and at most five seconds.
  var timeout: Milliseconds?

  /// Whether two checks are written alike; how they speak TLS follows from where they stand.
  func asks(asMuchAs other: HealthCheckSettings) -> Bool {
    var other = other
    other.tls = tls
    return self == other
  }

  // Bound: never longer than the interval, so that a server which accepts and says nothing is out
  // `interval` × `fails` after its first unanswered check.
  /// How long one check may take.
  var effectiveTimeout: Milliseconds { min(timeout ?? 5_000, interval) }
}

/// How a check speaks TLS: what `proxy_ssl_…` says where requests are passed to the servers.
struct HealthCheckTLS: Sendable, Equatable {
  var options: TLSClientOptions
  /// What is sent by SNI; nil: nothing.
  var serverName: String?
  /// What the certificate has to be for, if it is verified.
  var verifyName: String?
}

/// A regular expression, or whatever else decides about bytes. Equal if its text is.
struct MatchPattern: Sendable, Equatable {
  /// As the user wrote it.
  let text: String
  /// Says whether the pattern is found in the bytes; called by the control thread only.
  let isFound: @Sendable (Bytes) -> Bool

  static func == (a: MatchPattern, b: MatchPattern) -> Bool { a.text == b.text }
}

/// One `match` block: all of its conditions must hold.
struct MatchSettings: Sendable, Equatable {
  /// One line of the block.
  enum Condition: Sendable, Equatable {
    /// The status is in one of the ranges, or in none if `isNegated`.
    case status([ClosedRange<Int>], isNegated: Bool)
    case header(String, HeaderTest)
    case body(MatchPattern, isNegated: Bool)
  }

  /// What is asked about a field of the head.
  enum HeaderTest: Sendable, Equatable {
    case isPresent, isAbsent
    case equals(String, isNegated: Bool)
    case matches(MatchPattern, isNegated: Bool)
  }

  let name: String
  var conditions: [Condition] = []

  init(name: String) { self.name = name }

  /// Adds the line `words`, such as ["status", "!", "500-599"]. `compile` makes a pattern of a
  /// regular expression, or gives nil if it isn't one.
  mutating func add(
    _ words: [String], compile: (String) -> MatchPattern?
  ) throws(MatchSyntaxError) {
    let arguments = Array(words.dropFirst())
    switch words.first {
    case "status": conditions.append(try Self.status(arguments))
    case "header": conditions.append(try Self.header(arguments, compile))
    case "body": conditions.append(try Self.body(arguments, compile))
    case "require":
      throw MatchSyntaxError(text: "\"require\" is not supported; only answers are looked at")
    default:
      throw MatchSyntaxError(
        text: "\"\(words.first ?? "")\" is not a test here; use \"status\", \"header\" or \"body\"")
    }
  }

  private static func status(_ words: [String]) throws(MatchSyntaxError) -> Condition {
    let isNegated = words.first == "!"
    var ranges: [ClosedRange<Int>] = []
    for word in isNegated ? words.dropFirst() : words[...] {
      let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let low = ends[0], let high = ends[ends.count - 1],
        100 <= low, low <= high, high <= 599
      else {
        throw MatchSyntaxError(text: "\"\(word)\" is not a status or range between 100 and 599")
      }
      ranges.append(low...high)
    }
    if ranges.isEmpty { throw MatchSyntaxError(text: "\"status\" needs a status") }
    return .status(ranges, isNegated: isNegated)
  }

  private static func header(
    _ words: [String], _ compile: (String) -> MatchPattern?
  ) throws(MatchSyntaxError) -> Condition {
    switch (words.count, words.count > 1 ? words[1] : "") {
    case (1, _): return .header(words[0], .isPresent)
    case (2, _) where words[0] == "!": return .header(words[1], .isAbsent)
    case (3, "="): return .header(words[0], .equals(words[2], isNegated: false))
    case (3, "!="): return .header(words[0], .equals(words[2], isNegated: true))
    case (3, "~"), (3, "!~"):
      let pattern = try regex(words[2], compile)
      return .header(words[0], .matches(pattern, isNegated: words[1] == "!~"))
    default:
      throw MatchSyntaxError(
        text: "\"header\" is written NAME, ! NAME, or NAME =, !=, ~ or !~ VALUE")
    }
  }

  private static func body(
    _ words: [String], _ compile: (String) -> MatchPattern?
  ) throws(MatchSyntaxError) -> Condition {
    guard words.count == 2, words[0] == "~" || words[0] == "!~" else {
      throw MatchSyntaxError(text: "\"body\" is written ~ or !~ REGEX")
    }
    return .body(try regex(words[1], compile), isNegated: words[0] == "!~")
  }

  private static func regex(
    _ text: String, _ compile: (String) -> MatchPattern?
  ) throws(MatchSyntaxError) -> MatchPattern {
    guard let pattern = compile(text) else {
      throw MatchSyntaxError(text: "\"\(text)\" is not a regular expression")
    }
    return pattern
  }
}

/// What is wrong with a line of a `match` block.
struct MatchSyntaxError: Error, Equatable {
  let text: String
}

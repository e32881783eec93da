// What request heads and response heads have in common: the field table and its limits.
//
// A head stays where it was received. What the parser makes of it is a table of offsets relative to
// the first byte of the head, so that the buffer may move (grow, be compacted) without touching the
// table: `field.value.of(bytes)` asks the buffer of the moment. Tables are reset and used again,
// and keep their capacity: after the first requests a head is parsed without allocating.

/// A run of bytes inside a head, by offset and count.
public struct Slice: BitwiseCopyable, Equatable, Sendable {
  /// Offset of the first byte from the start of the head.
  public var start: UInt32
  /// The number of bytes.
  public var count: UInt32

  /// The empty slice.
  @inlinable
  public init() {
    start = 0
    count = 0
  }

  /// The bytes from `start` up to but not including `end`.
  @inlinable
  public init(_ start: Int, _ end: Int) {
    self.start = UInt32(start)
    self.count = UInt32(end - start)
  }

  /// The bytes in the head that the slice was made from.
  ///
  /// - Parameter bytes: the head, or a buffer that begins with it.
  @inlinable
  public func of(_ bytes: Bytes) -> Bytes {
    bytes.slice(Int(start), Int(start) + Int(count))
  }

  @inlinable public var isEmpty: Bool { count == 0 }
}

/// One field line of a head: `name: value`.
public struct Field: BitwiseCopyable, Sendable {
  /// The name as sent.
  public var name: Slice
  /// The value without the white space around it; may be empty.
  public var value: Slice
  /// Which well-known field it is, or `.other`.
  public var token: FieldName

  @inlinable
  public init(name: Slice, value: Slice, token: FieldName) {
    self.name = name
    self.value = value
    self.token = token
  }
}

/// A request head or a response head: a field table with questions.
public protocol MessageHead {
  /// The field lines in the order sent. Lines that were ignored aren't there.
  var fields: [Field] { get set }
  /// The well-known fields that occur.
  var present: FieldNames { get set }
  /// The well-known fields that occur more than once.
  var repeated: FieldNames { get set }
}

extension MessageHead {
  /// The first field of this name, or nil. One test if there is none.
  @inlinable
  public func first(_ token: FieldName) -> Field? {
    guard present.contains(token) else { return nil }
    for index in 0..<fields.count where fields[index].token == token { return fields[index] }
    return nil
  }

  /// The first field of this name, whatever its case, or nil.
  ///
  /// - Parameter bytes: the buffer that begins with this head.
  @inlinable
  public func first(named name: Bytes, in bytes: Bytes) -> Field? {
    let token = FieldName.lookup(name)
    if token != .other { return first(token) }
    for index in 0..<fields.count where fields[index].token == .other {
      if fields[index].name.of(bytes).equalsIgnoringCase(name) { return fields[index] }
    }
    return nil
  }

  /// The value of the first field of this name, or nil.
  @inlinable
  public func value(_ token: FieldName, in bytes: Bytes) -> Bytes? {
    first(token)?.value.of(bytes)
  }

  /// Adds a line to the table.
  @inlinable @inline(__always)
  mutating func append(_ field: Field) {
    if field.token != .other {
      if present.contains(field.token) { repeated.insert(field.token) }
      present.insert(field.token)
    }
    fields.append(field)
  }

  /// Empties the table and keeps its capacity.
  @inlinable
  mutating func removeFields() {
    if !fields.isEmpty { fields.removeAll(keepingCapacity: true) }
    present = FieldNames()
    repeated = FieldNames()
  }
}

/// What a parser of heads accepts.
public struct HeadLimits: BitwiseCopyable, Sendable {
  /// Bound: the number of field lines, ignored ones included (nginx's `max_headers`).
  public var maxFields = 1000
  /// Bound: the bytes of one line of a request, with its ending.
  public var maxLineBytes = Int.max
  /// Bound: the bytes of a request's head, from its first to the end of its last line.
  public var maxBytes = Int.max
  /// Bound: empty lines before a request line, which RFC 9112 §2.2 asks to skip.
  public var maxEmptyLines = 4
  /// Whether "_" is as good as "-" in a name (nginx's `underscores_in_headers`).
  public var allowUnderscores = false
  /// Whether a line whose name has other characters than letters, digits and "-" is left out of the
  /// table (nginx's `ignore_invalid_headers`). If not, a name may be any token of RFC 9110, and
  /// what isn't a token is an error.
  public var ignoreInvalidFields = true
  /// Whether a line may end with LF alone. Never on by default: a peer that disagrees about where a
  /// line ends is how requests are smuggled. For upstreams whose scripts print "\n".
  public var allowBareLineFeed = false

  /// The limits for requests.
  public init() {}

  /// The limits for responses: names may be any token.
  public static var response: HeadLimits {
    var limits = HeadLimits()
    limits.allowUnderscores = true
    limits.ignoreInvalidFields = false
    return limits
  }
}

/// How far a parser of heads came.
public enum HeadProgress: BitwiseCopyable, Equatable, Sendable {
  /// The head isn't all there: call again with more bytes.
  case incomplete
  /// The head is parsed; its `length` says where the body begins.
  case complete
  /// The head is refused.
  case failed(HeadError)
}

/// Why a head is refused. A client gets `status` and the connection is closed; an upstream that
/// sends such a head is answered for with 502.
public enum HeadError: Error, BitwiseCopyable, Equatable, CaseIterable, Sendable {
  /// A control character, NUL included, anywhere in the head (RFC 9110 §5.5, RFC 9112 §3): 400.
  case controlCharacter
  /// CR without LF behind it (RFC 9112 §2.2): 400.
  case bareCarriageReturn
  /// LF without CR before it (RFC 9112 §2.2; we use the right not to recognise it): 400.
  case bareLineFeed
  /// A request line that isn't `method SP target SP version`; also HTTP/0.9 (RFC 9112 §3): 400.
  case malformedRequestLine
  /// A method with other characters than A–Z, "_" and "-", as nginx takes it (RFC 9110 §9.1): 400.
  case invalidMethod
  /// A target that is none of the four forms or not the method's (RFC 9112 §3.2): 400.
  case invalidTarget
  /// A version other than 1.x (RFC 9110 §15.6.6): 505.
  case unsupportedVersion
  /// A status line that isn't `version SP 3DIGIT [SP reason]` (RFC 9112 §4).
  case malformedStatusLine
  /// A line that begins with white space: obs-fold (RFC 9112 §5.2): 400.
  case foldedLine
  /// A field line without a colon (RFC 9112 §5): 400.
  case missingColon
  /// A field line that begins with its colon (RFC 9112 §5): 400.
  case emptyFieldName
  /// White space in a name or between name and colon (RFC 9112 §5.1): 400.
  case spaceInFieldName
  /// A name that isn't a token (RFC 9110 §5.1): 400.
  case invalidFieldName
  /// More field lines than `HeadLimits.maxFields`: 494, as nginx logs it (400 on the wire).
  case tooManyFields
  /// A request line longer than `HeadLimits.maxLineBytes` (RFC 9110 §15.5.15): 414.
  case requestLineTooLong
  /// Another line that is longer, or more lines than `HeadLimits.maxBytes` (RFC 6585 §5): 494, as
  /// nginx logs it (400 on the wire).
  case headTooLong

  /// The status that a client is answered with; 494 is nginx's own for a head that is too large.
  public var status: Int {
    switch self {
    case .unsupportedVersion: return 505
    case .tooManyFields, .headTooLong: return 494
    case .requestLineTooLong: return 414
    default: return 400
    }
  }

  /// What is wrong, for a log: the rest of a sentence such as "client sent invalid request: …".
  public var reason: StaticString {
    switch self {
    case .controlCharacter: "a control character in the head"
    case .bareCarriageReturn: "a CR without LF"
    case .bareLineFeed: "a LF without CR"
    case .malformedRequestLine: "a request line that isn't \"METHOD TARGET HTTP/1.1\""
    case .invalidMethod: "an invalid method"
    case .invalidTarget: "an invalid request target"
    case .unsupportedVersion: "an unsupported version of HTTP"
    case .malformedStatusLine: "a malformed status line"
    case .foldedLine: "a header line that begins with white space"
    case .missingColon: "a header line without a colon"
    case .emptyFieldName: "a header line without a name"
    case .spaceInFieldName: "white space in the name of a header, or behind it"
    case .invalidFieldName: "an invalid character in the name of a header"
    case .tooManyFields: "too many header lines"
    case .requestLineTooLong: "a request line that is too long"
    case .headTooLong: "a header that is too long"
    }
  }
}

// Regular expressions of the configuration: `location ~`, `server_name ~`, `map ~`, `rewrite`,
// `if`.
//
// PCRE2 with its JIT compiler, as nginx has it. Compiled while a plan is made; matched by the one
// worker that owns the plan: match data belongs to the expression, so it is not Sendable. The
// machine code is made at the first match, because a plan of 10,000 servers holds expressions that
// nobody ever asks. After the first match a match allocates nothing.
//
// Matching is bounded: an expression that backtracks without end stops at a limit, so that a client
// can't hold a worker with a crafted path. Whether it would have matched is not known then: what
// decides by it is answered with 500, or whoever makes it give up would get past a rule that
// denies.

import CPCRE2
import HTTP

/// What is wrong with a pattern.
struct RegexError: Error, Equatable {
  /// PCRE2's words, such as "missing closing parenthesis".
  let message: String
  let pattern: String
  /// Where in the pattern, in bytes.
  let offset: Int

  /// The error as a diagnostic quotes it.
  var text: String { "\(message) in \"\(pattern)\" at offset \(offset)" }
}

/// A compiled regular expression.
@safe
final class Regex {
  /// The number of groups, named ones included.
  let captureCount: Int
  /// The named groups, in alphabetical order.
  let names: [(name: String, group: Int)]
  private let code: OpaquePointer
  private let limits: OpaquePointer?
  private var matchData: OpaquePointer?

  // Bound: backtracking steps of one match; PCRE2's default of 10,000,000 is 100 ms and more. What
  // nobody writes by intention needs more than a few thousand on a path of 8 KiB.
  private static let matchLimit: UInt32 = 1_000_000
  // Bound: nested backtracking of the interpreter, each level about 150 bytes on the heap.
  private static let depthLimit: UInt32 = 50_000
  // Bound: KiB of heap of the interpreter, used where the JIT's 32 KiB of stack don't suffice.
  private static let heapLimitKiB: UInt32 = 8_192

  /// Compiles `pattern`.
  ///
  /// - Throws: `RegexError` if PCRE2 refuses it, or a named group is beyond what `CaptureSet`
  ///   holds.
  init(pattern: String, caseless: Bool) throws(RegexError) {
    unsafe code = try unsafe Self.compile(pattern, caseless: caseless)
    unsafe limits = pcre2_match_context_create_8(nil)
    unsafe pcre2_set_match_limit_8(limits, Self.matchLimit)
    unsafe pcre2_set_depth_limit_8(limits, Self.depthLimit)
    unsafe pcre2_set_heap_limit_8(limits, Self.heapLimitKiB)
    captureCount = unsafe Int(portico_regex_capture_count(code))
    names = unsafe Self.readNames(of: code)
    for (name, group) in names where group >= CaptureSet.capacity {
      throw RegexError(
        message: "group \"\(name)\" is beyond the \(CaptureSet.capacity - 1) that are kept",
        pattern: pattern, offset: 0)
    }
  }

  deinit {
    unsafe pcre2_match_data_free_8(matchData)
    unsafe pcre2_match_context_free_8(limits)
    unsafe pcre2_code_free_8(code)
  }

  /// Whether `subject` matches; if it does, `captures` becomes this match's groups, which refer to
  /// the subject's memory. If it doesn't, `captures` stays what it was, but for `gaveUp`; once that
  /// is set, nothing matches.
  func match(_ subject: Bytes, into captures: inout CaptureSet) -> Bool {
    guard !captures.gaveUp else { return false }
    guard let isMatch = run(subject) else {
      captures.gaveUp = true
      return false
    }
    guard isMatch, let matchData = unsafe matchData else { return false }
    captures.reset(subject: subject)
    guard let vector = unsafe pcre2_get_ovector_pointer_8(matchData) else { return false }
    for group in 0..<min(captureCount + 1, CaptureSet.capacity) {
      unsafe captures.append(start: vector[2 * group], end: vector[2 * group + 1])
    }
    return true
  }

  /// Whether `subject` matches, as far as the limits let that be known.
  func matches(_ subject: Bytes) -> Bool { run(subject) ?? false }

  /// Nil: it gave up at a limit.
  private func run(_ subject: Bytes) -> Bool? {
    if unsafe matchData == nil {
      // Where the system forbids writable code (systemd's MemoryDenyWriteExecute) this fails, and
      // the interpreter does the work.
      _ = unsafe pcre2_jit_compile_8(code, portico_regex_jit_complete())
      let pairs = UInt32(min(captureCount + 1, CaptureSet.capacity))
      unsafe matchData = pcre2_match_data_create_8(pairs, nil)
    }
    var result = unsafe pcre2_match_8(
      code, subject.unsafeBase, subject.count, 0, 0, matchData, limits)
    if result == portico_regex_jit_stack_limit() {
      result = unsafe pcre2_match_8(
        code, subject.unsafeBase, subject.count, 0, portico_regex_no_jit(), matchData, limits)
    }
    // Zero: a match with more groups than are kept.
    if result >= 0 { return true }
    return result == portico_regex_no_match() ? false : nil
  }

  @unsafe
  private static func compile(_ pattern: String, caseless: Bool) throws(RegexError) -> OpaquePointer
  {
    var errorCode: Int32 = 0
    var errorOffset = 0
    var utf8 = Array(pattern.utf8)
    // A pointer to an empty array may be nil, which PCRE2 refuses.
    utf8.append(0)
    let code = unsafe pcre2_compile_8(
      utf8, utf8.count - 1, portico_regex_options(caseless ? 1 : 0), &errorCode, &errorOffset, nil)
    if let code = unsafe code { return unsafe code }
    var text = [UInt8](repeating: 0, count: 256)
    let length = unsafe max(0, Int(pcre2_get_error_message_8(errorCode, &text, text.count)))
    throw RegexError(
      message: String(decoding: text.prefix(length), as: UTF8.self), pattern: pattern,
      offset: errorOffset)
  }

  /// Each entry of PCRE2's name table is a big-endian group number and a C string.
  @unsafe
  private static func readNames(of code: OpaquePointer) -> [(name: String, group: Int)] {
    guard let table = unsafe portico_regex_name_table(code) else { return [] }
    let size = unsafe Int(portico_regex_name_size(code))
    return unsafe (0..<Int(portico_regex_name_count(code))).map { index in
      let entry = unsafe UnsafeBufferPointer(start: table + index * size, count: size)
      let name = unsafe String(decoding: entry[2...].prefix { $0 != 0 }, as: UTF8.self)
      return unsafe (name, Int(entry[0]) << 8 | Int(entry[1]))
    }
  }
}

/// The groups of the last match of an exchange: `$1`, and named groups by their number. Fixed
/// storage, recycled with the exchange; the bytes belong to the subject's owner.
struct CaptureSet: BitwiseCopyable {
  // Bound: the whole match and 31 groups. An expression may have more groups than that; only those
  // that are kept can be named or numbered.
  static let capacity = 32

  /// What was matched.
  private(set) var subject = Bytes()
  /// The number of groups of the match, the whole match (group 0) included; 0 before any match.
  private(set) var count = 0
  /// An expression gave up at a limit since this was last cleared: what was decided by that is no
  /// decision.
  var gaveUp = false
  private var starts = InlineArray<32, Int32>(repeating: -1)
  private var ends = InlineArray<32, Int32>(repeating: -1)

  /// Group `n` (0 is the whole match), or nil if there is none or it took no part in the match.
  func capture(_ n: Int) -> Bytes? {
    guard n >= 0, n < count, starts[n] >= 0, ends[n] >= starts[n] else { return nil }
    return subject.slice(Int(starts[n]), Int(ends[n]))
  }

  /// The same match in a copy of its subject.
  func moved(to copy: Bytes) -> CaptureSet {
    var moved = self
    moved.subject = copy
    return moved
  }

  /// Forgets the match.
  mutating func removeAll() {
    reset(subject: Bytes())
    gaveUp = false
  }

  fileprivate mutating func reset(subject: Bytes) {
    self.subject = subject
    count = 0
  }

  fileprivate mutating func append(start: Int, end: Int) {
    // An unset group is the largest size_t, which is -1 here.
    starts[count] = Int32(truncatingIfNeeded: start)
    ends[count] = Int32(truncatingIfNeeded: end)
    count += 1
  }
}

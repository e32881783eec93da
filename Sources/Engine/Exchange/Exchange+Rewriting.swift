// Running the rewrite directives of a block: set, if, rewrite, return, break
// (https://nginx.org/en/docs/http/ngx_http_rewrite_module.html).

import CLinux
import HTTP

extension Exchange {
  /// Runs `program`. False: the request was answered and nothing more is to be done.
  func run(_ program: RewriteProgram) -> Bool {
    var index = 0
    // As in nginx: captures of an encoded path stay encoded until a rewrite has matched.
    var escapesCaptures = true
    while index < program.steps.count {
      switch program.steps[index] {
      case .set(let variable, let template):
        let escapes = escapesCaptures && template.hasCaptures && targetIsEncoded
        assign(variable, evaluate(template, escapingCaptures: escapes))
      case .break:
        // What was rewritten is no location's path any more.
        if uriWasChanged { locationIsValid = false }
        uriWasChanged = false
        return true
      case .enter(let inner): location = inner
      case .unless(let condition, let target):
        let isTaken = holds(condition)
        if failsUndecided() { return false }
        if !isTaken {
          index = target
          continue
        }
      case .return(let status, let text):
        respondReturn(status, text)
        return false
      case .rewrite(let rule):
        switch apply(rule) {
        case .notMatched: break
        case .goOn: escapesCaptures = false
        case .stop: return true
        case .answered: return false
        }
      }
      index += 1
    }
    return true
  }

  func assign(_ variable: Variable, _ value: Bytes) {
    switch variable {
    case .slot(let slot): values[slot] = value
    case .builtin(.request(.args)):
      arguments = value
      targetIsCurrent = false
    case .builtin(.response(.limit_rate)): assignLimitRate(value)
    default: break
    }
  }

  /// Whether `subject` matches; if it does, the groups are those of the exchange.
  func matches(_ bound: BoundRegex, _ subject: Bytes) -> Bool {
    guard bound.regex.match(subject, into: &captures) else { return false }
    bindCaptures(bound)
    return true
  }

  /// Answers with 500 if a regular expression gave up where it had to decide: whether a rule
  /// applies is not known.
  func failsUndecided() -> Bool {
    guard captures.gaveUp else { return false }
    captures.gaveUp = false
    reportGivenUp()
    fail(500)
    return true
  }

  func reportGivenUp() {
    log(.alert, "a regular expression takes too many steps on \"\(uri.string)\": it gave up")
  }

  func bindCaptures(_ bound: BoundRegex) {
    for binding in bound.bindings {
      values[binding.slot] = captures.capture(binding.group) ?? Bytes()
    }
  }

  private func holds(_ condition: RewriteProgram.Condition) -> Bool {
    switch condition {
    case .isTrue(let template):
      let value = evaluate(template)
      return !value.isEmpty && value != Bytes("0")
    case .equals(let left, let right, let negated):
      return (evaluate(left) == evaluate(right)) != negated
    case .matches(let template, let bound, let negated):
      return matches(bound, evaluate(template)) != negated
    case .file(let test, let template, let negated):
      return check(test, evaluate(template)) != negated
    }
  }

  private func check(_ test: RewriteProgram.FileTest, _ path: Bytes) -> Bool {
    guard let kind = fileKind(absolutePath(path)) else { return false }
    switch test {
    case .file: return kind == .file
    case .directory: return kind == .directory
    case .exists: return true
    case .executable: return isExecutable(absolutePath(path))
    }
  }

  private enum RewriteOutcome { case notMatched, goOn, stop, answered }

  private func apply(_ rule: RewriteRule) -> RewriteOutcome {
    guard matches(rule.regex, uri) else { return failsUndecided() ? .answered : .notMatched }
    let path = evaluate(rule.path, escapingCaptures: rule.isRedirect && targetIsEncoded)
    let own = rule.arguments.map { evaluate($0, escapingCaptures: targetIsEncoded) }
    if rule.isRedirect {
      redirect(rule, path, own)
      return .answered
    }
    let result = path
    let query = joinArguments(rule, own)
    guard result.hasPrefix(Bytes("/")) || !result.isEmpty else {
      log(.error, "the rewritten URI has a zero length")
      fail(500)
      return .answered
    }
    uri = result
    targetIsCurrent = false
    uriIsOriginal = false
    isInternal = true
    arguments = query
    switch rule.flag {
    case .last:
      uriWasChanged = true
      return .stop
    case .break:
      uriWasChanged = false
      locationIsValid = false
      return .stop
    default:
      uriWasChanged = true
      return .goOn
    }
  }

  /// The request's own arguments behind those of the rule, unless the rule ends in "?".
  private func joinArguments(_ rule: RewriteRule, _ own: Bytes?) -> Bytes {
    guard rule.keepsArguments, !arguments.isEmpty else { return own ?? Bytes() }
    guard let own, !own.isEmpty else { return arguments }
    return concatenate(own, Bytes("&"), arguments)
  }

  private func redirect(_ rule: RewriteRule, _ path: Bytes, _ own: Bytes?) {
    var target = own.map { concatenate(path, Bytes("?"), $0) } ?? path
    let room = arena.allocate(target.count)
    target = room.readOnly.prefix(Escape.unescape(target, kind: .redirect, into: room))
    if rule.keepsArguments && !arguments.isEmpty {
      target = concatenate(target, own == nil ? Bytes("?") : Bytes("&"), arguments)
    }
    redirect(rule.flag == .permanent ? 301 : 302, to: absoluteURL(target))
  }

  /// Whether the client's path was percent-encoded, so that captures of it must be encoded again.
  private var targetIsEncoded: Bool {
    let path = request.path.of(headBytes)
    return path.firstIndex(of: UInt8(ascii: "%")) != nil
      || path.firstIndex(of: UInt8(ascii: "+")) != nil
  }

  /// `return`: 444 closes without an answer, redirects take a URL, other codes a text.
  private func respondReturn(_ status: Int, _ text: Template?) {
    if status == 444 {
      keepAlive = false
      response.status = 444
      return stream.abort()
    }
    response.status = status
    switch status {
    case 301, 302, 303, 307, 308:
      let target = text.map { evaluate($0) } ?? Bytes()
      redirect(status, to: target.hasPrefix(Bytes("/")) ? absoluteURL(target) : target)
    default:
      // As in nginx, a text answers for itself: no error page takes its place.
      guard let text, status < 400 || text.literal?.isEmpty != true else {
        return status >= 400 ? fail(status) : respond(status, Bytes())
      }
      respond(status, evaluate(text))
    }
  }

  /// Answers with a fixed body of the location's type.
  func respond(_ status: Int, _ bytes: Bytes) {
    response.status = status
    response.contentLength = bytes.count
    if response.contentType == nil && status != 204 {
      response.contentType = mediaType(of: uri)
    }
    startResponse()
    if response.hasBody { sendBody(bytes) }
    completeResponse()
  }
}

// Header filters: what add_header, expires and conditional requests do to a response head.
// (https://nginx.org/en/docs/http/ngx_http_headers_module.html, RFC 9110 §13)

import CLinux
import Configuration
import HTTP

extension Exchange {
  /// Completes `response` by the location's rules; called once, just before the head is sent.
  func applyHeaders() {
    let settings = location.settings.headers.value
    if response.status == 200, errorStatus == 0, !isInner, !response.isJudged {
      applyPreconditions()
    }
    if case .off = settings.expires {
    } else if isListed(response.status) {
      addExpiry(settings.expires)
    }
    for field in settings.added where field.always || isListed(response.status) {
      let value = evaluate(field.value)
      add(field.name, field.value.isConstant ? value : lineSafe(value))
    }
    if settings.userID.mode.gives { addUserID(settings.userID) }
    if !settings.trailers.isEmpty { expectTrailers(settings.trailers) }
  }

  /// `add_trailer`: by HTTP/1, fields can follow a chunked body only.
  private func expectTrailers(_ trailers: [AddedHeader]) {
    guard response.hasBody, !response.isUpgrade, request.minorVersion >= 1,
      request.isHTTP2 || location.settings.core.value.chunkedTransferEncoding,
      trailers.contains(where: { $0.always || isListed(response.status) })
    else { return }
    response.expectsTrailers = true
    if !request.isHTTP2 { response.contentLength = nil }
  }

  /// Computes the fields behind the body, now that it ended.
  func completeTrailers() {
    guard response.expectsTrailers else { return }
    for field in location.settings.headers.value.trailers
    where field.always || isListed(response.status) {
      let value = lineSafe(evaluate(field.value))
      guard !value.isEmpty else { continue }
      response.trailers.append(OutgoingField(name: field.name, value: value, token: .other))
    }
  }

  /// The statuses that `add_header` without `always` and `expires` hold for.
  private func isListed(_ status: Int) -> Bool {
    switch status {
    case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308: true
    default: false
    }
  }

  private func add(_ name: Bytes, _ value: Bytes) {
    let token = FieldName.lookup(name)
    switch token {
    case .lastModified:
      response.lastModified = HTTPDate.parse(value)
      response.remove(.lastModified)
    case .etag: response.remove(.etag)
    default: break
    }
    if !value.isEmpty { response.add(name, value, token) }
  }

  private func addExpiry(_ expires: Expires) {
    var expires = expires
    if case .variable(let template, let isModified) = expires {
      let text = (isModified ? "modified " : "") + evaluate(template).string
      guard let computed = ExpiresValue.parse(text) else { return }
      expires = computed
    }
    if case .off = expires { return }
    response.remove(.expires)
    response.remove(.cacheControl)
    switch expires {
    case .epoch:
      response.add(Bytes("Expires"), Bytes("Thu, 01 Jan 1970 00:00:01 GMT"), .expires)
      response.add(Bytes("Cache-Control"), Bytes("no-cache"), .cacheControl)
    case .max:
      response.add(Bytes("Expires"), Bytes("Thu, 31 Dec 2037 23:55:55 GMT"), .expires)
      response.add(Bytes("Cache-Control"), Bytes("max-age=315360000"), .cacheControl)
    case .after(let seconds, let modified):
      let now = loop.wallTime / 1000
      if seconds == 0 && !modified {
        addExpiry(at: now, maxAge: 0)
      } else if modified, let last = response.lastModified {
        // A file's date may be any number.
        let moment = last.adding(seconds)
        addExpiry(at: moment, maxAge: moment.adding(-now))
      } else {
        addExpiry(at: now + seconds, maxAge: seconds)
      }
    case .daily(let seconds):
      let now = loop.wallTime / 1000
      let moment = next(seconds, after: now)
      addExpiry(at: moment, maxAge: moment - now)
    case .off, .variable: break
    }
  }

  /// When the server's clock shows `seconds` after midnight next, today or tomorrow.
  private func next(_ seconds: Int, after now: Int) -> Int {
    let local = now + zoneOffset(now)
    let today = local - local % 86_400 + seconds
    let moment = moment(atLocal: today)
    return moment > now ? moment : self.moment(atLocal: today + 86_400)
  }

  /// When the server's clock shows `local`. Its distance from UTC is another one after a change to
  /// summer time or back.
  private func moment(atLocal local: Int) -> Int {
    local - zoneOffset(local - zoneOffset(local))
  }

  private func zoneOffset(_ moment: Int) -> Int { Int(linux_zone_offset_seconds(Int64(moment))) }

  private func addExpiry(at moment: Int, maxAge: Int) {
    let date = arena.allocate(29)
    HTTPDate.write(max(0, moment), into: date)
    response.add(Bytes("Expires"), date.readOnly, .expires)
    let control =
      maxAge < 0
      ? Bytes("no-cache") : concatenate(Bytes("max-age="), arena.decimal(maxAge))
    response.add(Bytes("Cache-Control"), control, .cacheControl)
  }

  // --- conditional requests ----------------------------------------------------------------------

  /// RFC 9110 §13.2.2, in nginx's order: If-Unmodified-Since and If-Match give 412,
  /// If-Modified-Since and If-None-Match give 304. Not of what an upstream answers and no cache
  /// keeps: it heard the conditions, or the configuration kept them from it, and a 412 for a
  /// request that was carried out would be a lie.
  private func applyPreconditions() {
    switch precondition(modified: response.lastModified, etag: response.first(.etag)) {
    case .holds: break
    case .failed: becomePreconditionFailed()
    case .notModified:
      response.status = 304
      response.contentLength = nil
      response.contentType = nil
      response.hasBody = false
      response.acceptsRanges = false
    }
  }

  enum Precondition { case holds, notModified, failed }

  /// What the request's conditions say of a representation.
  func precondition(modified: Int?, etag: Bytes?) -> Precondition {
    if let since = field(.ifUnmodifiedSince), let moment = HTTPDate.parse(since), let modified,
      moment < modified
    {
      return .failed
    }
    if let list = field(.ifMatch), !EntityTag.list(list, holds: etag, .strong) { return .failed }
    let since = field(.ifModifiedSince)
    let none = field(.ifNoneMatch)
    guard since != nil || none != nil else { return .holds }
    if let since {
      guard let modified, !isModified(modified, since: since) else { return .holds }
    }
    if let none, !EntityTag.list(none, holds: etag, .weak) { return .holds }
    return .notModified
  }

  private func isModified(_ modified: Int, since: Bytes) -> Bool {
    let rule = location.settings.core.value.ifModifiedSince
    if rule == .off { return true }
    guard let moment = HTTPDate.parse(since) else { return true }
    if moment == modified { return false }
    return rule == .exact || moment < modified
  }

  /// Our page takes the place of the body, and nothing speaks of that any more.
  private func becomePreconditionFailed() {
    let (server, date, hasBody) = (response.server, response.date, response.hasBody)
    response.reset()
    (response.server, response.date, response.hasBody) = (server, date, hasBody)
    response.status = 412
    response.contentType = Bytes("text/html")
    let page = pageText(412)
    response.contentLength = page.count
    preconditionPage = page
  }

  /// The value of the first field of the request with that name.
  @inline(__always)
  func field(_ token: FieldName) -> Bytes? {
    // Asked here, since calling a method of the head copies it.
    guard request.present.contains(token) else { return nil }
    return request.first(token)?.value.of(headBytes)
  }
}

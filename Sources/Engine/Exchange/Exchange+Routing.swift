// From a request head to what will answer it: site, server-level rewrites, location, its rewrites,
// access limits, try_files, content. An internal redirect starts again at the location.

import CLinux
import HTTP

extension Exchange {
  /// Begins work on a request whose head was read and found sound.
  func begin() {
    state = .working
    countBegun()
    applyMethod()
    selectSite()
    if method == .trace || method == .connect {
      keepAlive = false
      log(.info, "client sent \(methodName.string) method")
      return fail(405)
    }
    guard normalizeTarget() else { return fail(400) }
    if failsUndecided() { return }
    findRealAddress()
    guard admitByTLS() else { return }
    beginAtSite()
  }

  /// Answers a request whose head isn't sound, by the site and with what else was understood of it.
  func reject(_ status: Int) {
    state = .working
    applyMethod()
    if let authority = field(.host).flatMap({ Authority($0) }) {
      host = authority.host
      selectSite()
    }
    if !request.path.isEmpty { _ = normalizeTarget() }
    fail(status)
  }

  /// Goes on with a request that its site may see.
  func beginAtSite() {
    if let program = site.program {
      guard run(program) else { return }
      uriWasChanged = false
    }
    route()
  }

  private func applyMethod() {
    method = request.method
    methodName = request.methodName.of(headBytes)
    requestTarget = originForm
  }

  /// Chooses the site by host name.
  private func selectSite() {
    guard !address.hasOneSite || !host.isEmpty else { return }
    // Host names are compared, captured and shown in lower case.
    host = arena.lowercased(host)
    // One site takes every name.
    if address.hasOneSite { return }
    let name = hostWithoutPort
    if let match = address.names.find(name, captures: &captures) {
      site = match.value
      if let regex = match.regexMatched { bindServerName(regex) }
    } else {
      site = address.defaultSite
    }
    location = site.root
  }

  private func bindServerName(_ regex: Regex) {
    guard let bound = plan.serverNameBindings[ObjectIdentifier(regex)] else { return }
    bindCaptures(bound)
  }

  /// The Host without its port, without a trailing dot.
  var hostWithoutPort: Bytes {
    var name = host
    if name.count > 0 && name[0] == UInt8(ascii: "[") {
      if let end = name.firstIndex(of: UInt8(ascii: "]")) { name = name.prefix(end + 1) }
    } else if let colon = name.firstIndex(of: UInt8(ascii: ":")) {
      name = name.prefix(colon)
    }
    if name.count > 1 && name[name.count - 1] == UInt8(ascii: ".") {
      name = name.prefix(name.count - 1)
    }
    return name
  }

  /// Decodes and normalises the path once; every rule and the upstream see the result.
  private func normalizeTarget() -> Bool {
    arguments = request.query?.of(headBytes) ?? Bytes()
    let path = request.path.of(headBytes)
    if request.form == .asterisk {
      guard method == .options else {
        log(.info, "client sent invalid request: \"*\" is a target of OPTIONS only")
        return false
      }
      uri = Bytes("*")
      return true
    }
    if path.isEmpty {
      uri = Bytes("/")
      return true
    }
    if !TargetPath.needsNormalizing(path) {
      uri = path
      return true
    }
    let room = arena.allocate(path.count)
    do throws(TargetError) {
      let count = try TargetPath.normalize(
        path, mergeSlashes: site.settings.mergeSlashes, into: room)
      uri = room.readOnly.prefix(count)
      return true
    } catch {
      log(.info, "client sent invalid request: \(error.reason)")
      return false
    }
  }

  /// Finds the location of `uri` and lets it answer.
  func route() {
    while true {
      guard findLocation() else { return }
      let before = uri
      if let program = location.program {
        guard run(program) else { return }
        if uriWasChanged {
          uriWasChanged = false
          redirectsLeft -= 1
          guard redirectsLeft > 0 else {
            log(
              .error, "rewrite or internal redirection cycle while processing \"\(before.string)\"")
            return fail(500)
          }
          continue
        }
      }
      return answer()
    }
  }

  /// Finds what `uri` belongs to, and takes its settings; false: the request was answered.
  private func findLocation() -> Bool {
    guard site.hasLocations else {
      location = site.root
      return admitBody()
    }
    var lacksSlash = false
    switch site.locations.find(path: uri, captures: &captures) {
    case .none: location = site.root
    case .found(let found):
      location = found
      if !found.enclosing.isEmpty { bindEnclosing(found.enclosing) }
      if let bound = found.binding { bindCaptures(bound) }
    case .redirect(let found):
      location = found
      lacksSlash = true
    }
    if failsUndecided() { return false }
    if location.settings.core.value.isInternal && !isInternal {
      fail(404)
      return false
    }
    takeException()
    guard admitBody() else { return false }
    if lacksSlash { redirect(301, toPath: concatenate(uri, Bytes("/"))) }
    return !lacksSlash
  }

  /// Assigns what the expressions around the location that was found say; `captures` are its own.
  private func bindEnclosing(_ outer: [BoundRegex]) {
    let own = captures
    for bound in outer { _ = matches(bound, uri) }
    captures = own
  }

  /// `limit_except`: other methods go by other settings.
  private func takeException() {
    if let exception = location.exception, exception.concerns(method) {
      location = exception.location
    }
  }

  /// `client_max_body_size`, for a length that is known; false: answered with 413.
  private func admitBody() -> Bool {
    let limit = location.settings.core.value.maxBodyBytes
    guard limit > 0, case .length(let length) = body.framing, length > limit,
      body.phase == .untouched
    else { return true }
    log(.error, "client intended to send too large body: \(length) bytes")
    keepAlive = false
    // An error page does without the body, and isn't refused for it again.
    body.framing = .none
    fail(413)
    return false
  }

  /// Lets what stands before the content have its say, then the location's content answer.
  func answer() {
    findRealAddress()
    guard location.settings.admission.value.isActive else { return answerByContent() }
    admit()
  }

  /// Lets the location's content answer: an upstream, or a file. What `try_files` takes elsewhere
  /// isn't copied here.
  func answerByContent() {
    let core = location.settings.core.value
    if !core.tryFiles.isEmpty {
      guard tryFiles(core) else { return }
    }
    if !core.mirror.targets.isEmpty && !isInner { return answerMirrored() }
    answerUnmirrored()
  }

  /// The same, when copies of the request were made if there are to be any.
  func answerUnmirrored() {
    let core = location.settings.core.value
    if let pass = location.settings.proxy.value.pass { return proxy(pass) }
    if core.tellsStatus { return serveStatus() }
    if core.isEmptyImage { return serveEmptyImage() }
    serveFile()
  }

  /// Takes the request elsewhere, as `error_page`, `try_files` and `index` do.
  func redirectInternally(to path: Bytes, arguments: Bytes?) {
    redirectsLeft -= 1
    guard redirectsLeft > 0 else {
      log(
        .error,
        "rewrite or internal redirection cycle while internally redirecting to \"\(path.string)\"")
      return fail(500)
    }
    isInternal = true
    uriIsOriginal = false
    targetIsCurrent = false
    aliasTakesPath = false
    locationIsValid = true
    uri = path
    if let arguments { self.arguments = arguments }
    if let program = site.program {
      location = site.root
      guard run(program) else { return }
    }
    uriWasChanged = false
    route()
  }

  /// Takes the request to a named location.
  func redirectInternally(toNamed name: String) {
    redirectsLeft -= 1
    guard redirectsLeft > 0 else {
      log(
        .error,
        "rewrite or internal redirection cycle while redirect to named location \"@\(name)\"")
      return fail(500)
    }
    guard let target = site.named[name] else {
      log(.error, "could not find named location \"@\(name)\"")
      return fail(500)
    }
    isInternal = true
    location = target
    takeException()
    uriWasChanged = false
    if let program = location.program {
      guard run(program) else { return }
      if uriWasChanged {
        uriWasChanged = false
        return route()
      }
    }
    answer()
  }

  /// `try_files`: the first path that exists becomes the request's; false when the request was
  /// taken elsewhere or answered.
  private func tryFiles(_ core: Borrowed<CoreSettings>) -> Bool {
    let count = core.tryFiles.count
    // What stands in the configuration may come from anywhere: no candidate is the path itself.
    let wasOriginal = uriIsOriginal
    uriIsOriginal = false
    // An alias that stands for the whole path has candidates behind it.
    let alias = location.settings.core.value.alias
    let isWholeAlias = alias != nil && alias?.prefix == nil
    for index in 0..<count {
      let candidate = evaluate(core.tryFiles[index].path)
      let isLast = index == count - 1 && core.tryFilesStatus == nil
      if isLast {
        uriIsOriginal = wasOriginal
        if candidate.hasPrefix(Bytes("@")) {
          redirectInternally(toNamed: candidate.dropping(1).string)
        } else {
          let (path, query) = splitQuery(candidate)
          redirectInternally(to: path, arguments: query ?? Bytes())
        }
        return false
      }
      aliasTakesPath = isWholeAlias
      let path = safeFilePath(for: candidate, in: location)
      aliasTakesPath = false
      guard let path, let kind = fileKind(path),
        core.tryFiles[index].isFolder == (kind == .directory)
      else { continue }
      if isWholeAlias {
        // As in nginx, a folder is the alias itself.
        if kind == .directory { return true }
        aliasTakesPath = true
      }
      uri = alias?.prefix.map { join(candidate, behind: $0) } ?? candidate
      return true
    }
    fail(core.tryFilesStatus ?? 404)
    return false
  }

  /// With `alias`, try_files names paths below the location.
  private func join(_ candidate: Bytes, behind prefix: Bytes) -> Bytes {
    candidate.hasPrefix(prefix) ? candidate : concatenate(prefix, candidate)
  }

  func splitQuery(_ target: Bytes) -> (path: Bytes, query: Bytes?) {
    guard let mark = target.firstIndex(of: UInt8(ascii: "?")) else { return (target, nil) }
    return (target.prefix(mark), target.dropping(mark + 1))
  }
}

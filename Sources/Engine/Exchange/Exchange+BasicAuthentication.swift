// Basic authentication (RFC 7617, https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html).

import CLinux
import HTTP

extension Exchange {
  /// `auth_basic`: whether the client says a password that the file knows.
  func judgeCredentials() -> AdmissionVerdict {
    let settings = location.settings.admission.value
    guard let realmText = settings.realm, let fileName = settings.userFile else { return .abstains }
    let realm = evaluate(realmText)
    if realm == Bytes("off") { return .abstains }
    guard let (user, password) = basicCredentials else {
      log(.info, "no user/password was provided for basic authentication")
      return challenge(realm)
    }
    let path = confPath(evaluate(fileName))
    switch core.passwordFiles.open(path.array + [0], wallTime: loop.wallTime) {
    case .failure(.notRegular):
      log(.error, "\"\(path.string)\" is not a regular file")
      return .refuses(403)
    case .failure(.system(let error)):
      let isMissing = error.code == ENOENT
      log(isMissing ? .error : .crit, "open() \"\(path.string)\" failed \(error.logText)")
      return isMissing ? .refuses(403) : .fails(500)
    case .success(let file):
      guard let stored = file.stored(for: user) else {
        log(.error, "user \"\(user.string)\" was not found in \"\(path.string)\"")
        return challenge(realm)
      }
      return check(user, password, stored, realm)
    }
  }

  private func check(
    _ user: Bytes, _ password: Bytes, _ stored: ArraySlice<UInt8>, _ realm: Bytes
  ) -> AdmissionVerdict {
    let wanted = arena.copy(Array(stored))
    if PasswordHash.isCheap(wanted) {
      return PasswordHash.matches(password, wanted) ? .admits : mismatch(user, realm)
    }
    guard let digest = core.passwordChecks.digest(user, password, stored) else {
      return .fails(500)
    }
    if core.passwordChecks.isVerified(digest) { return .admits }
    let job = PasswordJob(
      password: password.array, stored: Array(stored), digest: digest, worker: core.index)
    guard core.check(job, for: handle) else {
      log(.error, "too many passwords are being checked")
      return .fails(503)
    }
    wait(for: .credentials(digest))
    return .waits
  }

  /// The password was checked on another thread.
  func onPasswordChecked(_ digest: CredentialDigest, isRight: Bool) {
    guard state == .waiting, case .credentials(digest) = awaited else { return }
    if isRight { return goOnAdmitting(.admits) }
    let realm = location.settings.admission.value.realm.map { evaluate($0) } ?? Bytes()
    goOnAdmitting(mismatch(basicCredentials?.user ?? Bytes(), realm))
  }

  private func mismatch(_ user: Bytes, _ realm: Bytes) -> AdmissionVerdict {
    log(.error, "user \"\(user.string)\": password mismatch")
    return challenge(realm)
  }

  /// 401, with the WWW-Authenticate field that it needs (RFC 9110 §11.6.1).
  private func challenge(_ realm: Bytes) -> AdmissionVerdict {
    var count = 0
    for index in 0..<realm.count where Self.isQuoted(realm[index]) { count += 1 }
    let room = arena.allocate(realm.count + count)
    var position = 0
    for index in 0..<realm.count {
      if Self.isQuoted(realm[index]) {
        room[position] = UInt8(ascii: "\\")
        position += 1
      }
      room[position] = realm[index]
      position += 1
    }
    challenges.append(
      lineSafe(concatenate(Bytes("Basic realm=\""), room.readOnly, Bytes("\""))))
    return .refuses(401)
  }

  private static func isQuoted(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  /// A relative path of a file that stands with the configuration.
  private func confPath(_ path: Bytes) -> Bytes {
    path.hasPrefix(Bytes("/")) ? path : concatenate(arena.copy(plan.paths.confFolder), path)
  }

  /// What the client says in Authorization; nil: nothing that is Basic.
  var basicCredentials: (user: Bytes, password: Bytes)? {
    guard let value = field(.authorization), value.hasPrefixIgnoringCase(Bytes("basic ")) else {
      return nil
    }
    let encoded = value.dropping(6).trimmed
    let room = arena.allocate(encoded.count)
    guard let count = Base64.decode(encoded, into: room) else { return nil }
    let decoded = room.readOnly.prefix(count)
    guard let colon = decoded.firstIndex(of: UInt8(ascii: ":")) else { return nil }
    return (decoded.prefix(colon), decoded.dropping(colon + 1))
  }
}

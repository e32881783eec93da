// A request must not climb out of the folder that a location serves. Request paths come normalised,
// so what is left are joints: `location /img { alias /www/img/; }` makes /www/img/../x of
// "/img../x", and a variable in `root`, `alias` or `rewrite` brings whatever the client put into
// it. nginx serves these; here ".." in a file's path is taken from the configuration only. Symbolic
// links are followed unless `disable_symlinks` says otherwise.

import CLinux
import HTTP

extension Exchange {
  /// `filePath(for:in:)`, or nil if the request put a ".." into it.
  func safeFilePath(for path: Bytes, in location: Location) -> Bytes? {
    let file = filePath(for: path, in: location)
    let settings = location.settings.core.value
    let words = settings.folder
    if settings.alias == nil && words.isConstant && uriIsOriginal { return file }
    let found = file.parentSegmentCount
    if found == 0 { return file }
    var allowed = plan.prefix.parentSegmentCount
    for part in words.parts {
      if case .literal(let bytes) = part { allowed += bytes.parentSegmentCount }
    }
    if found <= allowed { return file }
    log(.error, "\"\(file.string)\" would leave the folder of its location")
    return nil
  }

  /// How the location wants `path` to be opened: with `disable_symlinks … from=` the beginning of
  /// the path is trusted.
  func filePolicy(_ path: Bytes) -> OpenFilePolicy {
    let settings = location.settings.core.value
    var policy = settings.filePolicy
    guard policy.links.mode != .all, let from = settings.trustedPath else { return policy }
    let part = evaluate(from)
    guard !part.isEmpty, path.hasPrefix(part) else { return policy }
    let slash = UInt8(ascii: "/")
    if part.count == path.count {
      policy.links.mode = .all
    } else if path[part.count] == slash {
      policy.links.trustedCount = part.count
    } else if path[part.count - 1] == slash {
      policy.links.trustedCount = part.count - 1
    }
    return policy
  }

  /// `path` with its symbolic links resolved; nil, with a line in the log, if there is nothing.
  func realPath(_ path: Bytes) -> Bytes? {
    guard path.firstIndex(of: 0) == nil else { return nil }
    let name = concatenate(path, Bytes("\0"))
    let room = arena.allocate(Int(PATH_MAX))
    let count = unsafe name.unsafeBase.withMemoryRebound(to: CChar.self, capacity: name.count) {
      name in
      unsafe room.unsafeBase.withMemoryRebound(to: CChar.self, capacity: room.count) {
        unsafe linux_real_path(name, $0)
      }
    }
    if count >= 0 { return room.readOnly.prefix(Int(count)) }
    let error = SystemError(code: Int32(-count))
    log(.crit, "realpath() \"\(path.string)\" failed \(error.logText)")
    return nil
  }

  /// Whether a variable brought a ".." into `path`, which `words` gave.
  func climbs(_ path: Bytes, _ words: Template) -> Bool {
    var allowed = plan.prefix.parentSegmentCount
    for part in words.parts {
      if case .literal(let bytes) = part { allowed += bytes.parentSegmentCount }
    }
    return path.parentSegmentCount > allowed
  }
}

extension Bytes {
  /// How many of the segments between slashes are "..".
  fileprivate var parentSegmentCount: Int {
    var count = 0
    var start = 0
    let dot = UInt8(ascii: ".")
    for index in 0...self.count where index == self.count || self[index] == UInt8(ascii: "/") {
      if index - start == 2 && self[start] == dot && self[start + 1] == dot { count += 1 }
      start = index + 1
    }
    return count
  }
}

// proxy_store: complete responses of upstreams become files (https://nginx.org/r/proxy_store).
//
//   head ─► nameless file in the target's folder ─► bytes as they are passed on ─► end: a name
//
// Nobody sees half a file, and none is left behind, whatever happens. What goes wrong concerns the
// file only: the response goes on.

import CLinux
import HTTP

/// A response on its way to a file.
final class SavedResponse {
  let path: String
  let file: TemporaryFile
  /// What the file's modification time is to be, in seconds; nil: the time at which it is complete.
  let modified: Int?

  init(path: String, file: TemporaryFile, modified: Int?) {
    self.path = path
    self.file = file
    self.modified = modified
  }

  /// Gives the file its name, in the place of what has it. `number` is nobody else's.
  func complete(mode: UInt32, number: UInt64) throws(SystemError) {
    _ = try check(linux_set_mode(file.fd, mode))
    if let modified { _ = try check(linux_set_modified(file.fd, Int64(modified))) }
    let name = "\(path).\(number).tmp"
    _ = try check(unsafe linux_link_open(file.fd, name))
    let result = unsafe linux_rename(name, path)
    if result < 0 { _ = unsafe linux_unlink(name) }
    _ = try check(result)
  }
}

extension Exchange {
  /// Begins to keep the response whose head has come, if `proxy_store` says so.
  func beginSaving(_ settings: Borrowed<ProxySettings>) {
    // What answers a body is no file either.
    guard method == .get, !body.hasBody, attempt.head.statusCode == 200 else { return }
    let target: Bytes
    switch settings.store.place {
    case .none: return
    case .location: target = filePath(for: uri, in: location)
    case .path(let template): target = absolutePath(evaluate(template))
    }
    // A file doesn't say how it is encoded, and it was one client who chose.
    if let coding = upstreamField(.contentEncoding), !coding.equalsIgnoringCase(Bytes("identity")) {
      return log(.info, "a response that is encoded is not stored")
    }
    // Variables may hold what clients say: they must not choose another folder.
    let isOutside = target.contains(Bytes("/../"))
    if isOutside || target.hasSuffix(Bytes("/")) || target.contains(Bytes("\0")) {
      return log(.error, "a response is not stored at \"\(target.string)\"")
    }
    let path = target.string
    guard path.withBytes({ $0 == target }) else {
      // It would be the name of others.
      return log(.info, "a response is not stored at \"\(path)\": the path isn't UTF-8")
    }
    let folder = ProcessFiles.parent(of: path) ?? "/"
    do throws(SystemError) {
      let mode = Self.folderMode(settings.store.mode)
      try ProcessFiles.makeFolders(folder, mode: mode, parentMode: mode)
      stored = SavedResponse(
        path: path, file: try TemporaryFile.make(in: folder),
        modified: upstreamField(.lastModified).flatMap { HTTPDate.parse($0) })
    } catch {
      log(.crit, "a response can't be stored at \"\(path)\" \(error.logText)")
    }
  }

  /// Whoever may read files of a folder may look into it.
  private static func folderMode(_ mode: UInt32) -> UInt32 { mode | (mode & 0o444) >> 2 }

  /// Keeps a piece of the body.
  func save(_ bytes: Bytes) {
    guard let stored else { return }
    do throws(SystemError) {
      try stored.file.append(bytes)
    } catch {
      self.stored = nil
      log(.crit, "a response can't be stored at \"\(stored.path)\" \(error.logText)")
    }
  }

  /// The response is complete.
  func completeSaving() {
    guard let stored else { return }
    self.stored = nil
    do throws(SystemError) {
      try stored.complete(
        mode: location.settings.proxy.value.store.mode, number: core.nextSerial())
    } catch {
      log(.crit, "a response can't be stored at \"\(stored.path)\" \(error.logText)")
    }
  }
}

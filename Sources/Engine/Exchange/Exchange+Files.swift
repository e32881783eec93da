// Static files: root and alias, index, directory redirects
// (https://nginx.org/en/docs/http/ngx_http_core_module.html#root).

import CLinux
import HTTP

extension Exchange {
  enum FileKind { case file, directory }

  /// Answers with the file that the path names.
  func serveFile() {
    if uri.hasSuffix(Bytes("/")) { return serveIndex() }
    guard method == .get || method == .head || method == .post else { return fail(405) }
    guard let path = safeFilePath(for: uri, in: location) else { return fail(404) }
    let settings = location.settings.core.value
    if location.settings.filters.value.precompressed != .off, method != .post,
      let file = openPrecompressed(path)
    {
      response.add(Bytes("Content-Encoding"), Bytes("gzip"), .contentEncoding)
      return send(file, settings)
    }
    switch core.fileCaches[settings.fileCache].open(
      path: path, policy: filePolicy(path), now: loop.now)
    {
    case .directory:
      let target = concatenate(uri, Bytes("/"))
      redirect(301, toPath: target)
    case .failed(let error): failFile(error, path)
    case .file(let file):
      if method == .post {
        file.release()
        return fail(405)
      }
      send(file, settings)
    }
  }

  /// `gzip_static`: the compressed file beside the one at `path`, if the client is to have it.
  private func openPrecompressed(_ path: Bytes) -> CachedFile? {
    let filters = location.settings.filters.value
    let isWanted = filters.precompressed == .always || acceptsGzip(filters.gzip)
    let varies = filters.precompressed == .on && filters.gzip.varies
    guard isWanted || varies else { return nil }
    let compressed = concatenate(path, Bytes(".gz"))
    let cache = location.settings.core.value.fileCache
    guard
      case .file(let file) = core.fileCaches[cache].open(
        path: compressed, policy: filePolicy(compressed), now: loop.now)
    else { return nil }
    if varies { addVary() }
    if isWanted { return file }
    file.release()
    return nil
  }

  func failFile(_ error: SystemError, _ path: Bytes) {
    switch error.code {
    case ENOENT, ENOTDIR, ENAMETOOLONG:
      if location.settings.core.value.logsNotFound {
        log(.error, "open() \"\(path.string)\" failed \(error.logText)")
      }
      fail(404)
    case EACCES, EPERM, ELOOP:
      log(.error, "open() \"\(path.string)\" failed \(error.logText)")
      fail(403)
    case EMFILE, ENFILE:
      log(.crit, "open() \"\(path.string)\" failed \(error.logText)")
      fail(503)
    default:
      log(.crit, "open() \"\(path.string)\" failed \(error.logText)")
      fail(500)
    }
  }

  /// `index`: the first file that exists answers; the last word may be an absolute path.
  private func serveIndex() {
    guard method == .get || method == .head || method == .post else { return fail(405) }
    guard let folder = safeFilePath(for: uri, in: location) else { return fail(404) }
    let listing = location.settings.core.value.listing
    if listing.picksRandomly, let name = randomFile(folder) {
      return redirectInternally(to: concatenate(uri, name), arguments: nil)
    }
    var isFolder = false
    for name in location.settings.core.value.index {
      let file = evaluate(name)
      if file.hasPrefix(Bytes("/")) { return redirectInternally(to: file, arguments: nil) }
      switch presence(of: concatenate(folder, file)) {
      case .file: return redirectInternally(to: concatenate(uri, file), arguments: nil)
      case .directory: break
      case .failed(let error):
        // One that is there and may not be read is the answer all the same.
        if error.code != ENOENT { return failFile(error, concatenate(folder, file)) }
      }
      // A folder that isn't there has no index, be it an absolute path.
      guard isFolder || findFolder(folder) else { return }
      isFolder = true
    }
    guard isFolder || findFolder(folder) else { return }
    if listing.isOn { return serveListing(of: folder, listing) }
    log(.error, "directory index of \"\(folder.string)\" is forbidden")
    fail(403)
  }

  /// Whether `path` is a folder; if not, the request was answered.
  private func findFolder(_ path: Bytes) -> Bool {
    switch presence(of: path) {
    case .directory: return true
    case .file: failFile(SystemError(code: ENOTDIR), path)
    case .failed(let error): failFile(error, path)
    }
    return false
  }

  /// The path in the file system for `path`, by the location's root or alias.
  func filePath(for path: Bytes, in location: Location) -> Bytes {
    let settings = location.settings.core.value
    if let alias = settings.alias {
      let base = absolutePath(evaluate(alias.path))
      guard let prefix = alias.prefix else {
        return aliasTakesPath ? concatenate(base, path) : base
      }
      return concatenate(base, path.hasPrefix(prefix) ? path.dropping(prefix.count) : path)
    }
    return concatenate(absolutePath(evaluate(settings.root)), path)
  }

  /// A relative path of the configuration stands below the prefix.
  func absolutePath(_ path: Bytes) -> Bytes {
    path.hasPrefix(Bytes("/")) ? path : concatenate(plan.prefix, path)
  }

  /// What is at `path`, or nil if nothing is (or may be looked at).
  func fileKind(_ path: Bytes) -> FileKind? {
    switch presence(of: path) {
    case .file: .file
    case .directory: .directory
    case .failed: nil
    }
  }

  private func presence(of path: Bytes) -> FilePresence {
    core.fileCaches[location.settings.core.value.fileCache].test(
      path: path, policy: filePolicy(path), now: loop.now)
  }

  func isExecutable(_ path: Bytes) -> Bool {
    core.fileCaches.isExecutable(path, filePolicy(path).links)
  }

  /// The media type of a path, by its extension.
  func mediaType(of path: Bytes) -> Bytes {
    let settings = location.settings.core.value
    return settings.types.type(forPath: path) ?? settings.defaultType
  }

  private func send(_ file: CachedFile, _ settings: Borrowed<CoreSettings>) {
    response.status = 200
    response.contentLength = file.size
    // A page that stands for an error says nothing of when the error was modified.
    if errorStatus == 0 || errorStatus == 200 { response.lastModified = file.modified }
    if response.contentType == nil { response.contentType = mediaType(of: uri) }
    response.acceptsRanges = settings.maxRanges > 0
    if settings.etag { response.add(Bytes("ETag"), file.etag, .etag) }
    use(file)
    send(StoredBody(file: file, size: file.size, content: file.content))
  }
}

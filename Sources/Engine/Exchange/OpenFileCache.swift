// Opening files for responses, with nginx's open_file_cache where it is configured.
//
// One per worker and configured cache (and one that is off, for everything else); the static file
// handler, index and try_files ask it. It remembers open files, directories and, if asked to,
// errors, for `valid` without asking the disk again. A file that changed is opened anew; responses
// that are being sent keep the one that they began with.
//
//   find ─► fresh ────────────────────────────► answer
//     │       └─ stale ─► stat: the same ─────► answer
//     └─ none ─┴───────── open ─► remember ───► answer

import CLinux
import HTTP

/// What is at a path.
enum FileLookup {
  /// Open for one user, who calls `release()` on it.
  case file(CachedFile)
  case directory
  /// ENOENT also stands for what is neither file nor directory; EINVAL for a NUL in the path.
  case failed(SystemError)
}

/// What is at a path, without opening it.
enum FilePresence: Equatable {
  case file, directory
  case failed(SystemError)
}

/// A worker's open files.
final class OpenFileCache {
  private let max: Int
  private let inactive: Milliseconds
  private let pool: CachedFilePool
  private var entries: OpenFileEntries

  /// A cache of at most `max` paths (0: off), each forgotten when not asked for during `inactive`.
  init(max: Int, inactive: Milliseconds, pool: CachedFilePool) {
    self.max = max
    self.inactive = inactive
    self.pool = pool
    entries = OpenFileEntries(max: max)
  }

  deinit { removeAll() }

  /// The number of paths that it remembers.
  var count: Int { entries.count }

  /// What is at `path`, which is absolute and normalised. A file that is in the cache and fresh
  /// costs no system call.
  func open(path: Bytes, policy: OpenFilePolicy, now: Milliseconds) -> FileLookup {
    guard max > 0 else { return pool.open(path, policy.links) }
    expire(now: now)
    guard let index = entries.find(path) else { return openNew(path, policy, now) }
    entries[index].useCount += 1
    entries[index].used = now
    entries.moveToFront(index)
    let isKnown = entries[index].links == policy.links
    if !isKnown || (!isFresh(index, policy, now) && !isUnchanged(index, policy, now)) {
      return remember(pool.open(path, policy.links), at: index, policy, now)
    }
    return answer(index)
  }

  /// What is at `path`, for try_files and index: as `open`, but without a cache one stat(2).
  func test(path: Bytes, policy: OpenFilePolicy, now: Milliseconds) -> FilePresence {
    if max > 0 {
      switch open(path: path, policy: policy, now: now) {
      case .file(let file):
        file.release()
        return .file
      case .directory: return .directory
      case .failed(let error): return .failed(error)
      }
    }
    switch pool.status(path, policy.links) {
    case .success(let status) where status.kind == .other: return .failed(SystemError(code: ENOENT))
    case .success(let status): return status.kind == .regular ? .file : .directory
    case .failure(let error): return .failed(error)
    }
  }

  /// Forgets everything; files in use are closed by their last user.
  func removeAll() {
    while let index = entries.oldestIndex { remove(index) }
  }

  private func openNew(_ path: Bytes, _ policy: OpenFilePolicy, _ now: Milliseconds) -> FileLookup {
    let lookup = pool.open(path, policy.links)
    if case .failed(let error) = lookup, !isKept(error, policy) { return lookup }
    if entries.count >= max, let oldest = entries.oldestIndex { remove(oldest) }
    let index = entries.insert(path)
    entries[index].useCount = 1
    entries[index].used = now
    return remember(lookup, at: index, policy, now)
  }

  private func isFresh(_ index: Int, _ policy: OpenFilePolicy, _ now: Milliseconds) -> Bool {
    switch entries[index].outcome {
    case .counted: return false
    case .failed where !policy.keepsErrors: return false
    case .file, .directory, .failed: return now - entries[index].checked < policy.valid
    }
  }

  /// Asks the disk whether what is remembered still holds.
  private func isUnchanged(_ index: Int, _ policy: OpenFilePolicy, _ now: Milliseconds) -> Bool {
    let isSame: Bool
    switch entries[index].outcome {
    case .file(let file):
      guard case .success(let status) = pool.status(entries[index].path, policy.links) else {
        return false
      }
      isSame = status == file.status
      if isSame { file.keepContent() }
    case .directory:
      guard case .success(let status) = pool.status(entries[index].path, policy.links) else {
        return false
      }
      isSame = status.kind == .directory
    case .counted, .failed: isSame = false
    }
    if isSame { entries[index].checked = now }
    return isSame
  }

  private func answer(_ index: Int) -> FileLookup {
    switch entries[index].outcome {
    case .file(let file):
      file.retain()
      return .file(file)
    case .directory: return .directory
    case .failed(let error): return .failed(error)
    case .counted: return .failed(SystemError(code: ENOENT))
    }
  }

  /// Puts what was found on the disk in place of what an entry held.
  private func remember(
    _ lookup: FileLookup, at index: Int, _ policy: OpenFilePolicy, _ now: Milliseconds
  ) -> FileLookup {
    dispose(index)
    entries[index].checked = now
    entries[index].links = policy.links
    switch lookup {
    case .file(let file) where entries[index].useCount >= policy.minUses:
      file.setCached(true)
      file.keepContent()
      entries[index].outcome = .file(file)
    case .file: break
    case .directory: entries[index].outcome = .directory
    case .failed(let error) where isKept(error, policy): entries[index].outcome = .failed(error)
    case .failed: remove(index)
    }
    return lookup
  }

  /// Errors that say something about the path; the others (no descriptors, no memory) pass.
  private func isKept(_ error: SystemError, _ policy: OpenFilePolicy) -> Bool {
    policy.keepsErrors && [ENOENT, ENOTDIR, EACCES, ENAMETOOLONG, ELOOP].contains(error.code)
  }

  /// Forgets one or two paths that nobody asks for.
  private func expire(now: Milliseconds) {
    for _ in 0..<2 {
      guard let oldest = entries.oldestIndex, now - entries[oldest].used > inactive else { return }
      remove(oldest)
    }
  }

  private func remove(_ index: Int) {
    dispose(index)
    entries.remove(index)
  }

  private func dispose(_ index: Int) {
    if case .file(let file) = entries[index].outcome { file.setCached(false) }
    entries[index].outcome = .counted
  }
}

// Finds what a former life has left in a cache's folder, a few files at a time: each is made known
// by its name and size, what it holds is judged when somebody asks for it. What lies in a cache's
// folder and is no file of a cache in its place is removed, as nginx does: the folder is the
// cache's own.

import CLinux

/// A walk through the folder of one cache; used by the cache's thread alone.
final class CacheLoader {
  private let zone: CacheZone
  /// Folders that were not read yet, relative to the cache's, and how many are around them.
  private var folders: [(path: String, depth: Int)]
  private var files: [(path: String, size: Int, modified: Int)] = []

  init(_ zone: CacheZone) {
    self.zone = zone
    folders = [(zone.folder.path, 0)]
  }

  /// Looks at files, as many and for as long as `pace` says; whether all were seen.
  func step(_ pace: CacheZoneSettings.Pace) -> Bool {
    let start = Clock.monotonic
    for _ in 0..<max(1, pace.files) {
      while files.isEmpty {
        guard let folder = folders.popLast() else {
          zone.noteLoaded()
          return true
        }
        read(folder.path, folder.depth)
      }
      if let file = files.popLast() { take(file.path, file.size, file.modified) }
      if Clock.monotonic - start >= pace.threshold { return false }
    }
    return false
  }

  private func read(_ path: String, _ depth: Int) {
    let descriptor = unsafe linux_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0)
    guard descriptor >= 0 else { return }
    guard let folder = unsafe linux_folder(Int32(descriptor)) else {
      _ = linux_close(Int32(descriptor))
      return
    }
    defer { unsafe linux_folder_close(folder) }
    var status = stat()
    var isFound: Int32 = 0
    while let entry = unsafe linux_folder_next(folder, 0, &status, &isFound) {
      let name = unsafe String(cString: entry)
      if isFound == 0 || name == "." || name == ".." { continue }
      if unsafe linux_is_directory(&status) != 0 {
        // Deeper ones than `levels` makes are none of ours.
        if depth < zone.folder.levels.count { folders.append((path + "/" + name, depth + 1)) }
      } else {
        files.append((path + "/" + name, Int(status.st_size), status.st_mtim.tv_sec))
      }
    }
  }

  private func take(_ path: String, _ size: Int, _ modified: Int) {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    if let key = CacheKey(fileName: name), zone.folder.file(of: key) == path,
      size >= CacheFileHeader.fixedCount
    {
      return zone.adopt(key, byteCount: size, now: Clock.monotonic)
    }
    if let draft = CacheDraftName(name), draft.mayBeInUse(modified) { return }
    ProcessFiles.remove(path)
  }
}

/// The name of a file that is being written: `.PID-PROCESS-WORKER-NUMBER`, PROCESS being random.
/// Process ids come again, in a container at each start.
struct CacheDraftName {
  let text: String
  private let pid: Int
  private let process: UInt64

  // Bound: a file that nobody wrote to for so long is nobody's.
  private static let longestPauseSeconds = 600
  private static let thisProcess = UInt64.random(in: 1...UInt64.max)

  init(worker: Int, number: UInt64) {
    pid = Int(linux_pid())
    process = Self.thisProcess
    text = ".\(pid)-\(process)-\(worker)-\(number)"
  }

  /// nil if it isn't such a name.
  init?(_ name: String) {
    let parts = name.dropFirst().split(separator: "-", omittingEmptySubsequences: false)
    guard name.hasPrefix("."), parts.count == 4, let pid = Int(parts[0]),
      let process = UInt64(parts[1]), UInt64(parts[2]) != nil, UInt64(parts[3]) != nil
    else { return nil }
    text = name
    self.pid = pid
    self.process = process
  }

  /// Whether its writer may be there still, which wrote last at `modified`, in seconds since 1970.
  func mayBeInUse(_ modified: Int) -> Bool {
    guard pid > 0, pid < Int(Int32.max) else { return false }
    if pid == Int(linux_pid()) && process != Self.thisProcess { return false }
    let isAlive = linux_kill(Int32(pid), 0) != -Int64(ESRCH)
    return isAlive && Clock.wall / 1000 - modified < Self.longestPauseSeconds
  }
}

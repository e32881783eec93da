// `disable_symlinks`: a path is opened component by component, each held open while the next is
// looked up, so that nobody can put a link in between (https://nginx.org/r/disable_symlinks).
//
//   /srv/www/img/a.png, from=/srv/www:   open /srv/www ─► img, not a link ─► a.png, not a link

import CLinux
import HTTP

/// Which symbolic links of a path may be followed.
struct SymlinkPolicy: Equatable, BitwiseCopyable {
  enum Mode: BitwiseCopyable {
    case all, none
    /// Those that belong to the owner of what they point to.
    case ofSameOwner
  }

  var mode = Mode.all
  /// Bytes of the path's beginning in which links may be followed; a slash stands behind them.
  var trustedCount = 0
}

/// One walk along a path.
struct SymlinkWalk {
  /// The absolute path, ended by NUL; slashes are NUL while a component is looked up.
  private let path: MutableBytes
  private let policy: SymlinkPolicy
  private var folder: Int32 = -1

  /// - Parameter path: ends with NUL, which counts.
  init(_ path: MutableBytes, _ policy: SymlinkPolicy) {
    self.path = path
    self.policy = policy
  }

  /// Opens what the path names; nil flags: only to look at it. A descriptor or -errno; -ELOOP:
  /// there is a link in the way.
  mutating func open(flags: Int32?) -> Int64 {
    let end = path.count - 1
    var position = policy.trustedCount
    let start =
      unsafe position > 0
      ? component(0, position) { unsafe linux_open_name_at(-1, $0, 1, 1) } : root()
    guard start >= 0 else { return start }
    folder = Int32(start)
    defer { _ = linux_close(folder) }
    while true {
      while position < end && path[position] == UInt8(ascii: "/") { position += 1 }
      var next = position
      while next < end && path[next] != UInt8(ascii: "/") { next += 1 }
      if next == end { return last(position, end, flags) }
      let step = enter(position, next)
      guard step >= 0 else { return step }
      _ = linux_close(folder)
      folder = Int32(step)
      position = next
    }
  }

  private func root() -> Int64 { unsafe linux_open_name_at(-1, "/", 1, 1) }

  private func enter(_ start: Int, _ end: Int) -> Int64 {
    unsafe component(start, end) { name in
      unsafe checked(name) { unsafe linux_open_name_at(folder, $0, 1, follows) }
    }
  }

  private func last(_ start: Int, _ end: Int, _ flags: Int32?) -> Int64 {
    // A slash at the end: the folder itself.
    if start == end { return unsafe linux_open_at(folder, ".", flags ?? O_RDONLY, 1) }
    return unsafe component(start, end) { name in
      unsafe checked(name) { name in
        if let flags {
          unsafe linux_open_at(folder, name, flags, follows)
        } else {
          unsafe linux_open_name_at(folder, name, 0, follows)
        }
      }
    }
  }

  private var follows: Int32 { policy.mode == .none ? 0 : 1 }

  // Bound: how often a name is opened that somebody exchanges meanwhile.
  private static let tries = 4

  /// What `open` finds by `name`, unless a link led there that may not be followed.
  @unsafe
  private func checked(
    _ name: UnsafePointer<CChar>, _ open: (UnsafePointer<CChar>) -> Int64
  ) -> Int64 {
    for _ in 0..<Self.tries {
      let result = unsafe open(name)
      switch unsafe verdict(on: result, name) {
      case .allowed: return result
      case .refused(let error):
        if result >= 0 { _ = linux_close(Int32(result)) }
        return -Int64(error)
      case .exchanged: _ = linux_close(Int32(result))
      }
    }
    return -Int64(ELOOP)
  }

  private enum Verdict {
    case allowed
    case refused(Int32)
    /// The name stood for something else when it was opened.
    case exchanged
  }

  /// Judges what was opened, not what its name stands for by now: whoever owns the folder could
  /// exchange a link for a file in between.
  @unsafe
  private func verdict(on result: Int64, _ name: UnsafePointer<CChar>) -> Verdict {
    var named = stat()
    guard unsafe linux_stat_at(folder, name, &named) >= 0 else {
      return .refused(result < 0 ? Int32(-result) : ENOENT)
    }
    let isLink = unsafe linux_is_link(&named) != 0
    guard result >= 0 else {
      return .refused(isLink && policy.mode == .none ? ELOOP : Int32(-result))
    }
    var opened = stat()
    guard unsafe linux_fstat(Int32(result), &opened) >= 0 else { return .refused(ELOOP) }
    if isLink {
      let isAllowed = policy.mode == .ofSameOwner && opened.st_uid == named.st_uid
      return isAllowed ? .allowed : .refused(ELOOP)
    }
    let isSame = opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
    return isSame ? .allowed : .exchanged
  }

  /// Calls `body` with a part of the path as a C string.
  private func component(
    _ start: Int, _ end: Int, _ body: (UnsafePointer<CChar>) -> Int64
  ) -> Int64 {
    let saved = path[end]
    path[end] = 0
    defer { path[end] = saved }
    let name = unsafe path.unsafeBase + start
    return unsafe name.withMemoryRebound(to: CChar.self, capacity: end - start + 1) {
      unsafe body($0)
    }
  }
}

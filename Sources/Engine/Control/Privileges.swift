// Who the worker process is. The supervisor looks users and groups up (so that an unknown one is an
// error of the configuration, and the worker needs no user database) and gives temporary folders to
// them; the worker process becomes that user after it has received its descriptors.

import CLinux

/// A user, a group and the user's other groups, as numbers.
struct Identity: Sendable, Equatable {
  var user: UInt32
  var group: UInt32
  var groups: [UInt32]

  /// Whether this process may become somebody else at all.
  static var canChange: Bool { linux_geteuid() == 0 }

  /// A name that doesn't exist.
  struct Unknown: Error {
    let problem: String
  }

  /// Looks up what `user USER [GROUP];` named, or `nobody`, as nginx does. nil if this process
  /// can't become anybody else.
  static func find(user: String?, group: String?) throws(Unknown) -> Identity? {
    guard canChange else { return nil }
    let name = user ?? "nobody"
    var uid = uid_t()
    var gid = gid_t()
    guard unsafe linux_find_user(name, &uid, &gid) >= 0 else {
      throw Unknown(problem: "user \"\(name)\" doesn't exist")
    }
    if let group, unsafe linux_find_group(group, &gid) < 0 {
      throw Unknown(problem: "group \"\(group)\" doesn't exist")
    }
    // Bound: more supplementary groups than anybody has; the rest is left out.
    var groups = [gid_t](repeating: 0, count: 256)
    let count = unsafe linux_groups_of(name, gid, &groups, Int32(groups.count))
    return Identity(user: uid, group: gid, groups: Array(groups.prefix(Int(count))))
  }

  /// Becomes this user, for good. Only for a process that started as root.
  func become() throws(SystemError) {
    _ = try check(unsafe linux_set_group_list(groups, groups.count))
    _ = try check(linux_setgid(group))
    _ = try check(linux_setuid(user))
  }
}

// Which location of a server a path belongs to: nginx's `location` in all its forms.
//
// A tree has a level per nesting. On one level, for the normalised path of a request:
//
//   1. an exact location (`=`), or a prefix equal to the path's beginning; the longest one wins;
//      `/path` where only `/path/` is, and that one asks for it, is a redirect
//   2. the locations nested in that one, by these same rules; what they find for certain wins
//   3. unless the prefix said `^~`: the level's regular expressions in order; the first match wins,
//      and then what is nested in it
//
// Prefixes are sorted, each knows the longest other prefix of itself, so that a look-up is one
// binary search and a walk up. Filled while the plan is made; the router asks it once per request.

import HTTP

/// What a path belongs to.
enum LocationMatch<Value> {
  /// No location of the server.
  case none
  case found(Value)
  /// The path lacks the slash at the end of this location's prefix: answer 301 to path + "/".
  case redirect(Value)
}

/// How a location is written.
enum LocationKind {
  /// `location = /path`
  case exact
  /// `location /path`
  case prefix
  /// `location ^~ /path`: no regular expressions after it.
  case prefixBeforeRegex
  /// `location @name`
  case named
}

/// The locations of a server, or those nested in one location.
final class LocationTree<Value> {
  private struct Location {
    let value: Value
    let nested: LocationTree?
    let stopsRegex: Bool
    let redirects: Bool
  }

  /// A path that an exact location, a prefix, or both are written for. -1 stands for none.
  private struct Entry {
    let path: Bytes
    var exact: Int32 = -1
    var prefix: Int32 = -1
    /// The entry of the longest prefix location that this path begins with.
    var parent: Int32 = -1
  }

  private let store = ByteStore()
  private var locations: [Location] = []
  private var entries: [Entry] = []
  /// Entries that redirect, sorted by their path without its slash.
  private var redirecting: [Int32] = []
  private var regexes: [(regex: Regex, location: Location)] = []
  private var named: [(name: Bytes, value: Value)] = []
  private var isPrepared = true
  /// What `contains` looks up; empty once prepared.
  private var written: Set<String> = []

  init() {}

  /// Adds a location for a path or name. `nested` holds the locations inside it; with
  /// `redirectsToSlash`, and a path that ends in a slash, the path without it is a redirect.
  ///
  /// - Precondition: not `contains(path, kind)`.
  func insert(
    _ path: String, _ kind: LocationKind, _ value: Value, nested: LocationTree? = nil,
    redirectsToSlash: Bool = false
  ) {
    let bytes = store.append(path)
    written.insert(Self.key(path, kind))
    if kind == .named {
      named.append((bytes, value))
      return
    }
    let redirects = redirectsToSlash && path.utf8.count > 1 && path.utf8.last == UInt8(ascii: "/")
    let index = Int32(locations.count)
    locations.append(
      Location(
        value: value, nested: nested, stopsRegex: kind == .prefixBeforeRegex, redirects: redirects))
    var entry = Entry(path: bytes)
    if kind == .exact { entry.exact = index } else { entry.prefix = index }
    entries.append(entry)
    isPrepared = false
  }

  /// Adds `location ~` behind the ones before it.
  func insert(_ regex: Regex, _ value: Value, nested: LocationTree? = nil) {
    regexes.append(
      (regex, Location(value: value, nested: nested, stopsRegex: false, redirects: false)))
  }

  /// Whether there is a location that nginx calls a duplicate of this one. O(1); only before
  /// `prepare()`.
  func contains(_ path: String, _ kind: LocationKind) -> Bool {
    written.contains(Self.key(path, kind))
  }

  /// Paths, exact paths and names are apart by their first byte.
  private static func key(_ path: String, _ kind: LocationKind) -> String {
    kind == .exact ? "=" + path : path
  }

  /// The location `@name`; `name` begins with the @.
  func named(_ name: Bytes) -> Value? {
    named.first { $0.name == name }?.value
  }

  /// The location that `path` belongs to. If a regular expression decided, its groups are in
  /// `captures`.
  func find(path: Bytes, captures: inout CaptureSet) -> LocationMatch<Value> {
    switch search(path, &captures) {
    case .none: .none
    case .certain(let value), .likely(let value): .found(value)
    case .redirect(let value): .redirect(value)
    }
  }

  /// Sorts what was inserted. `find` does it when needed; calling it while the plan is made spares
  /// the first request.
  func prepare() {
    for location in locations { location.nested?.prepare() }
    for each in regexes { each.location.nested?.prepare() }
    if !isPrepared { sortEntries() }
  }
}

// MARK: - Looking up

extension LocationTree {
  /// What one level found.
  private enum Outcome {
    case none
    /// An exact location or a regular expression: nothing overrides it.
    case certain(Value)
    /// A prefix: a regular expression of an outer level overrides it.
    case likely(Value)
    case redirect(Value)
  }

  private func search(_ path: Bytes, _ captures: inout CaptureSet) -> Outcome {
    if !isPrepared { sortEntries() }
    var outcome = Outcome.none
    if let index = longestEntry(for: path) {
      let entry = entries[index]
      if entry.exact >= 0 && entry.path.count == path.count {
        return .certain(locations[Int(entry.exact)].value)
      }
      if entry.path.count < path.count, let value = redirect(from: path) { return .redirect(value) }
      let location = locations[Int(entry.prefix)]
      outcome = .likely(location.value)
      switch location.nested?.search(path, &captures) ?? .none {
      case .certain(let value): return .certain(value)
      case .redirect(let value): return .redirect(value)
      case .likely(let value): outcome = .likely(value)
      case .none: break
      }
      if location.stopsRegex { return outcome }
    } else if let value = redirect(from: path) {
      return .redirect(value)
    }
    return searchRegexes(path, &captures) ?? outcome
  }

  private func searchRegexes(_ path: Bytes, _ captures: inout CaptureSet) -> Outcome? {
    for each in regexes where each.regex.match(path, into: &captures) {
      switch each.location.nested?.search(path, &captures) ?? .none {
      case .none: return .certain(each.location.value)
      // As in nginx, no redirect comes from inside a regular expression.
      case .certain(let value), .likely(let value), .redirect(let value): return .certain(value)
      }
    }
    return nil
  }

  /// The entry that is the path itself, or the longest prefix location of it.
  private func longestEntry(for path: Bytes) -> Int? {
    // Between the longest prefix of the path and the path itself there are only paths that begin
    // with that prefix, so it is the entry just before the path or one of that entry's parents.
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) >> 1
      let order = entries[middle].path.compare(path)
      if order == 0 { return middle }
      if order < 0 { low = middle + 1 } else { high = middle }
    }
    var index = low - 1
    while index >= 0 {
      if entries[index].prefix >= 0 && path.hasPrefix(entries[index].path) { return index }
      index = Int(entries[index].parent)
    }
    return nil
  }

  /// The location whose path is `path` and a slash, if it asks for the redirect.
  private func redirect(from path: Bytes) -> Value? {
    var low = 0
    var high = redirecting.count
    while low < high {
      let middle = (low + high) >> 1
      let entry = entries[Int(redirecting[middle])]
      let order = entry.path.prefix(entry.path.count - 1).compare(path)
      if order == 0 {
        return locations[Int(entry.exact >= 0 ? entry.exact : entry.prefix)].value
      }
      if order < 0 { low = middle + 1 } else { high = middle }
    }
    return nil
  }
}

// MARK: - Sorting

extension LocationTree {
  private func sortEntries() {
    entries.sort { $0.path.compare($1.path) < 0 }
    var merged: [Entry] = []
    merged.reserveCapacity(entries.count)
    // The chain of prefix locations that the paths at hand begin with, longest last.
    var chain: [Int] = []
    for entry in entries {
      if let last = merged.last, last.path == entry.path {
        join(entry, into: &merged[merged.count - 1])
      } else {
        while let top = chain.last, !entry.path.hasPrefix(merged[top].path) {
          chain.removeLast()
        }
        merged.append(entry)
        merged[merged.count - 1].parent = Int32(chain.last ?? -1)
      }
      if merged[merged.count - 1].prefix >= 0, chain.last != merged.count - 1 {
        chain.append(merged.count - 1)
      }
    }
    entries = merged
    redirecting = []
    for index in entries.indices {
      let entry = entries[index]
      let isAsked = [entry.exact, entry.prefix].contains { $0 >= 0 && locations[Int($0)].redirects }
      if isAsked { redirecting.append(Int32(index)) }
    }
    // Entries are sorted with the slash, which "-" and "." sort before.
    redirecting.sort {
      let one = entries[Int($0)].path
      let other = entries[Int($1)].path
      return one.prefix(one.count - 1).compare(other.prefix(other.count - 1)) < 0
    }
    written = []
    isPrepared = true
  }

  private func join(_ entry: Entry, into other: inout Entry) {
    if entry.exact >= 0 { other.exact = entry.exact }
    if entry.prefix >= 0 { other.prefix = entry.prefix }
  }
}

// Variables of families, such as $http_NAME, and few others, whose name a directive assigns
// (`set $http_x …`). nginx lets a name belong to both: it has the value that this request was
// given, and what the family says until then. Templates are compiled in the order of stages, not of
// the file, so the names are collected before.

import Configuration
import HTTP

extension PlanBuilder {
  /// Which argument of a directive names the variable that it defines.
  private static let definitions = [
    "set": 0, "auth_request_set": 0, "map": 1, "split_clients": 1, "geo": -1,
  ]

  /// Collects the names of families that `directives`, or blocks in them, define.
  func collectAssigned(_ directives: [Directive]) {
    for directive in directives {
      // Few directives have such an argument: their names alone are looked up.
      if directive.arguments.contains(where: { $0.text.utf8.first == UInt8(ascii: "$") }),
        let position = Self.definitions[directive.name.text]
      {
        let index = position < 0 ? directive.arguments.count - 1 : position
        guard directive.arguments.indices.contains(index) else { continue }
        let name = directive.arguments[index].text.dropFirst().lowercased()
        if shared(name) != nil { assigned.insert(name) }
      } else if let block = directive.block {
        collectAssigned(block)
      }
    }
  }

  /// The variable called `name`, for a directive that assigns it and has it as its first argument.
  func assignable(_ name: String) throws(Refusal) -> Variable {
    guard let builtin = Builtin(named: name), shared(name) == nil else {
      return .slot(defineAssignable(name))
    }
    guard builtin.isAssignable else {
      throw Refusal("the \"\(name)\" variable can't be assigned", argument: 0)
    }
    return .builtin(builtin)
  }

  /// The slot of a variable that requests may be given by a directive.
  func defineAssignable(_ name: String) -> Int {
    let slot = define(name)
    if maps[slot] == nil, let former = shared(name) {
      maps[slot] = MapVariable(.unassigned(former), isVolatile: true)
    }
    return slot
  }

  /// What a name stands for that may be assigned besides; nil: there is nothing, or it may not.
  func shared(_ name: String) -> Variable? {
    if ["proxy_host", "proxy_port"].contains(name) {
      return Builtin(named: name).map { .builtin($0) }
    }
    return member(name)
  }

  /// The variable of a family that `name` stands for, or nil.
  func member(_ name: String) -> Variable? {
    for (prefix, family) in Self.families where name.hasPrefix(prefix) {
      return .member(family, store.append(String(name.dropFirst(prefix.count))))
    }
    return nil
  }
}

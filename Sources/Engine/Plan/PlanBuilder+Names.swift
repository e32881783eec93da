// Words with variables, and regular expressions: what a directive's text refers to by name.

import Configuration
import HTTP

extension PlanBuilder {
  /// The slot of the variable called `name`; assigned by whoever defines it.
  func slot(_ name: String) -> Int {
    if let slot = slots[name] { return slot }
    let slot = maps.count
    maps.append(nil)
    slots[name] = slot
    return slot
  }

  /// The slot of a variable that is defined here.
  func define(_ name: String) -> Int {
    let slot = slot(name)
    definedSlots.insert(slot)
    return slot
  }

  /// Says which variables are named somewhere and defined nowhere.
  func checkPendingVariables() {
    for (name, word) in pendingNames {
      guard let slot = slots[name], !definedSlots.contains(slot) else { continue }
      var message = "unknown \"\(name)\" variable"
      let candidates =
        Array(slots.keys.filter { definedSlots.contains(slots[$0]!) }) + Builtin.names
      if let reason = NginxDirectives.reason(forVariable: name) {
        message += ": \(reason)"
      } else if let word, word.text.contains("${\(name.uppercased())}") {
        // A template for envsubst that nobody has filled in.
        message += "; \"${env:\(name.uppercased())}\" is that of the environment"
      } else if let nearest = nearestName(to: name, among: candidates) {
        message += "; did you mean \"$\(nearest)\"?"
      }
      if let word {
        diagnostics.error(message, at: word)
      } else {
        diagnostics.error(message, at: nil)
      }
      definedSlots.insert(slot)
    }
  }

  /// Compiles a word with variables.
  func template(_ text: String, _ argument: Int?) throws(Refusal) -> Template {
    do throws(ValueError) {
      return compile(try splitTemplate(text))
    } catch {
      throw Refusal(error.message, argument: argument)
    }
  }

  /// The same for a word as written: what came from the environment has no variables.
  func template(_ word: Word, _ argument: Int?) throws(Refusal) -> Template {
    let outer = currentWord
    currentWord = word
    defer { currentWord = outer }
    do throws(ValueError) {
      return compile(try splitTemplate(word))
    } catch {
      throw Refusal(error.message, argument: argument)
    }
  }

  private func compile(_ parts: [TemplatePart]) -> Template {
    var compiled: [Template.Part] = []
    compiled.reserveCapacity(parts.count)
    for part in parts {
      switch part {
      case .literal(let text): compiled.append(.literal(store.append(text)))
      case .capture(let group): compiled.append(.capture(group))
      case .variable(let name): compiled.append(.variable(variable(name)))
      }
    }
    return Template(parts: compiled)
  }

  /// What computes the variable called `name`.
  func variable(_ name: String) -> Variable {
    let name = name.lowercased()
    if !assigned.contains(name), let builtin = Builtin(named: name) { return .builtin(builtin) }
    if !assigned.contains(name), let member = member(name) { return member }
    if name.hasPrefix(Self.proxyFieldPrefix) {
      return proxyField(String(name.dropFirst(Self.proxyFieldPrefix.count)))
    }
    pendingNames.append((name, currentWord))
    return .slot(slot(name))
  }

  private static let proxyFieldPrefix = "proxy_protocol_tlv_"

  private func proxyField(_ name: String) -> Variable {
    if let field = ProxyField(name: name) { return .proxyField(field) }
    let known =
      ProxyField.names.keys + ProxyField.namesInsideSSL.keys.map { "ssl_\($0)" } + ["ssl_verify"]
    var message = "\"\(name)\" is no field of the PROXY protocol"
    if let nearest = nearestName(to: name, among: known) {
      message += "; did you mean \"\(nearest)\"?"
    } else {
      message +=
        "; it knows \(known.sorted().joined(separator: ", ")) and numbers such as 0xEA and ssl_0x21"
    }
    diagnostics.error(message, at: currentWord)
    return .builtin(.client(.pipe))
  }

  static let families: [(String, Variable.Family)] = [
    ("arg_", .argument), ("cookie_", .cookie), ("http_", .requestField),
    ("sent_http_", .sentField), ("sent_trailer_", .sentTrailer),
    ("upstream_http_", .upstreamField), ("upstream_cookie_", .upstreamCookie),
    ("upstream_trailer_", .upstreamTrailer),
  ]

  /// Compiles a regular expression; named groups become variables.
  func regex(_ pattern: String, caseless: Bool, _ argument: Int?) throws(Refusal) -> BoundRegex {
    let key = RegexKey(pattern: pattern, caseless: caseless)
    if let made = regexes[key] { return made }
    do throws(RegexError) {
      let regex = try Regex(pattern: pattern, caseless: caseless)
      let bound = BoundRegex(
        regex: regex,
        bindings: regex.names.map { (group: $0.group, slot: define($0.name.lowercased())) })
      regexes[key] = bound
      return bound
    } catch {
      throw Refusal(error.text, argument: argument)
    }
  }
}

/// What tells one regular expression from another.
struct RegexKey: Hashable {
  let pattern: String
  let caseless: Bool
}

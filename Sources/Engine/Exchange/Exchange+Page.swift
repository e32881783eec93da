// What the commands of server-side includes do. Values of variables are text of clients as well as
// of pages: they are encoded where they are shown, and never scanned for commands.

import CLinux
import HTTP

extension Exchange {
  /// The exchange that the client began.
  var root: Exchange {
    var exchange = self
    while let owner = exchange.owner { exchange = owner }
    return exchange
  }

  /// What commands know.
  var page: PageState {
    let root = self.root
    if let state = root.pageState { return state }
    let state = PageState()
    root.pageState = state
    return state
  }

  /// Adds the stage that obeys commands, if they are looked for in this body.
  func choosePageCommands(_ settings: SSISettings, _ head: UnfilteredHead) {
    guard settings.types.contains(head.type), head.length != 0, response.status != 204,
      response.status != 304,
      response.first(.contentEncoding) == nil
    else { return }
    if response.hasBody { addStage(PageStage(self, settings)) }
    becomeTransformed()
    guard !settings.keepsLastModified else { return }
    response.lastModified = nil
    response.remove(.lastModified)
    response.remove(.etag)
  }

  // --- variables ---------------------------------------------------------------------------------

  /// `$date_local` and `$date_gmt`, in the form that `config timefmt` says.
  func date(isLocal: Bool) -> Bytes {
    let seconds = Int64(loop.wallTime / 1000)
    let format = root.pageState?.timeFormat ?? Self.defaultTimeFormat
    // Bound: what a time takes in any sensible form.
    var text = [CChar](repeating: 0, count: 512)
    let count = unsafe Int(
      linux_format_time(&text, Int64(text.count), format, seconds, isLocal ? 1 : 0))
    let room = arena.allocate(count)
    for index in 0..<count { room[index] = UInt8(bitPattern: text[index]) }
    return room.readOnly
  }

  private static let defaultTimeFormat = Array("%A, %d-%b-%Y %H:%M:%S %Z\0".utf8).map {
    CChar(bitPattern: $0)
  }

  /// The variable called `name` that a page speaks of: of the page, then of the request.
  private func pageVariable(_ name: String) -> Bytes? {
    let name = name.lowercased()
    if let value = page.variables[name] { return value }
    if let builtin = Builtin(named: name) { return value(of: .builtin(builtin)) }
    if let slot = plan.slots[name] { return value(of: .slot(slot)) }
    for (prefix, family) in PlanBuilder.families where name.hasPrefix(prefix) {
      return value(of: .member(family, arena.copy(String(name.dropFirst(prefix.count)))))
    }
    return nil
  }

  /// `text` with the values of its variables, `$name` or `${name}`; "\$" is a dollar.
  private func expand(_ text: [UInt8]) throws(PageCommand.Mistake) -> [UInt8] {
    var result: [UInt8] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "$") {
        result.append(rest.removeFirst())
        continue
      }
      guard byte == UInt8(ascii: "$") else {
        result.append(byte)
        continue
      }
      let isBraced = rest.first == UInt8(ascii: "{")
      if isBraced { rest.removeFirst() }
      let name = rest.prefix { PageCommand.isNameByte($0) }
      rest = rest.dropFirst(name.count)
      if isBraced && rest.popFirst() != UInt8(ascii: "}") || name.isEmpty {
        throw PageCommand.Mistake(text: "an invalid variable name")
      }
      if let value = pageVariable(String(decoding: name, as: UTF8.self)) {
        result += value.array
      }
    }
    return result
  }

  // --- commands ----------------------------------------------------------------------------------

  /// `echo`: the value of a variable, encoded.
  func echo(_ command: PageCommand) throws(PageCommand.Mistake) -> [UInt8] {
    try check(command, ["var", "default", "encoding"])
    guard let name = command["var"] else {
      throw PageCommand.Mistake(text: "\"echo\" needs \"var\"")
    }
    let encoding = command["encoding"].map { String(decoding: $0, as: UTF8.self) } ?? "entity"
    guard let value = pageVariable(String(decoding: name, as: UTF8.self)) else {
      return command["default"] ?? Array("(none)".utf8)
    }
    switch encoding {
    case "none": return value.array
    case "url":
      guard page.charge(3 * value.count) else {
        throw PageCommand.Mistake(text: "too much to encode")
      }
      return escape(value, .html).array
    case "entity": return Self.entityEncoded(value)
    default: throw PageCommand.Mistake(text: "unknown encoding \"\(encoding)\"")
    }
  }

  private static func entityEncoded(_ value: Bytes) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(value.count)
    for index in 0..<value.count {
      switch value[index] {
      case UInt8(ascii: "<"): result += Array("&lt;".utf8)
      case UInt8(ascii: ">"): result += Array("&gt;".utf8)
      case UInt8(ascii: "&"): result += Array("&amp;".utf8)
      case UInt8(ascii: "\""): result += Array("&quot;".utf8)
      case let byte: result.append(byte)
      }
    }
    return result
  }

  /// `set`: a variable of the page.
  func setPageVariable(_ command: PageCommand) throws(PageCommand.Mistake) {
    try check(command, ["var", "value"])
    guard let name = command["var"], let text = command["value"] else {
      throw PageCommand.Mistake(text: "\"set\" needs \"var\" and \"value\"")
    }
    try keep(try expand(text), as: String(decoding: name, as: UTF8.self))
  }

  private func keep(_ value: [UInt8], as name: String) throws(PageCommand.Mistake) {
    guard page.charge(value.count) else { throw PageCommand.Mistake(text: "too much in variables") }
    page.variables[name.lowercased()] = root.arena.copy(value)
  }

  /// `config`: the text for errors, and the form of times.
  func configurePage(_ command: PageCommand) throws(PageCommand.Mistake) {
    try check(command, ["errmsg", "timefmt"])
    if let format = command["timefmt"] {
      page.timeFormat = format.map { CChar(bitPattern: $0) } + [0]
    }
    if let text = command["errmsg"] { page.errorText = root.arena.copy(text) }
  }

  /// The expression of `if` and `elif`: a text that isn't empty, a comparison, a regular
  /// expression.
  func pageCondition(_ command: PageCommand) throws(PageCommand.Mistake) -> Bool {
    try check(command, ["expr"])
    guard let expression = command["expr"] else {
      throw PageCommand.Mistake(text: "\"\(command.name)\" needs \"expr\"")
    }
    guard let equals = expression.firstIndex(of: UInt8(ascii: "=")) else {
      return try !expand(Self.trimmed(expression[...])).isEmpty
    }
    let isNegated = equals > 0 && expression[equals - 1] == UInt8(ascii: "!")
    let left = try expand(Self.trimmed(expression[..<(isNegated ? equals - 1 : equals)]))
    let right = Self.trimmed(expression[(equals + 1)...])
    guard right.first == UInt8(ascii: "/"), right.count > 1, right.last == UInt8(ascii: "/") else {
      return (try left == expand(right)) != isNegated
    }
    return try match(left, String(decoding: right[1..<(right.count - 1)], as: UTF8.self))
      != isNegated
  }

  private func match(_ value: [UInt8], _ pattern: String) throws(PageCommand.Mistake) -> Bool {
    guard page.charge(value.count) else { throw PageCommand.Mistake(text: "too many expressions") }
    let regex: Regex
    do throws(RegexError) {
      regex = try Regex(pattern: pattern, caseless: false)
    } catch {
      throw PageCommand.Mistake(text: error.text)
    }
    var groups = CaptureSet()
    guard regex.match(root.arena.copy(value), into: &groups) else {
      if groups.gaveUp { throw PageCommand.Mistake(text: "too many steps for \"\(pattern)\"") }
      return false
    }
    for group in 0...9 { page.variables["\(group)"] = groups.capture(group) }
    for (name, group) in regex.names { page.variables[name.lowercased()] = groups.capture(group) }
    return true
  }

  private static func trimmed(_ text: ArraySlice<UInt8>) -> [UInt8] {
    var text = text.drop { $0 == 32 }
    while text.last == 32 { text.removeLast() }
    return Array(text)
  }

  private func check(
    _ command: PageCommand, _ known: [String]
  ) throws(PageCommand.Mistake) {
    guard let name = command.unknown(known) else { return }
    throw PageCommand.Mistake(text: "\"\(command.name)\" knows no \"\(name)\"")
  }

  // --- include -----------------------------------------------------------------------------------

  /// `include`: asks a location of this site.
  func includePart(_ command: PageCommand) throws(PageCommand.Mistake) -> IncludePump {
    try check(command, ["virtual", "file", "stub", "wait", "set"])
    guard let target = command["virtual"] ?? command["file"],
      command["virtual"] == nil || command["file"] == nil
    else { throw PageCommand.Mistake(text: "\"include\" needs either \"virtual\" or \"file\"") }
    if let wait = command["wait"], wait != Array("yes".utf8), wait != Array("no".utf8) {
      throw PageCommand.Mistake(text: "\"wait\" is \"yes\" or \"no\"")
    }
    guard depth < PageState.mostDepth, page.chargeInclude() else {
      throw PageCommand.Mistake(text: "pages include each other too often")
    }
    let (path, arguments) = try includedTarget(try expand(target))
    let stub = command["stub"].map { String(decoding: $0, as: UTF8.self) }
    let variable = command["set"].map { String(decoding: $0, as: UTF8.self).lowercased() }
    let stream = IncludeStream(self, replacesErrors: stub != nil)
    include = stream
    stream.ask(path, arguments)
    return IncludePump(stream, stub: stub, variable: variable, loop.pool)
  }

  /// Path and arguments of `target`, which may be relative to the page's folder.
  private func includedTarget(
    _ target: [UInt8]
  ) throws(PageCommand.Mistake) -> (path: Bytes, arguments: Bytes) {
    guard page.charge(3 * target.count + uri.count) else {
      throw PageCommand.Mistake(text: "too many includes")
    }
    var target = arena.copy(target)
    if !target.hasPrefix(Bytes("/")) {
      target = concatenate(uri.prefix((uri.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1), target)
    }
    guard let (path, query) = safePath(target), path.hasPrefix(Bytes("/")) else {
      throw PageCommand.Mistake(text: "unsafe URI \"\(target.string)\"")
    }
    return (path, query ?? Bytes())
  }
}

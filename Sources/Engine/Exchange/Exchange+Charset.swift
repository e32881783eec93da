// `charset`: which charset a response is in, and whether its body has to be turned into another
// (https://nginx.org/en/docs/http/ngx_http_charset_module.html).

import HTTP

extension Exchange {
  /// A charset: its name, and its number if the configuration names it.
  private struct Charset {
    var name: Bytes
    var number: Int?

    func isSame(as other: Charset) -> Bool {
      if let number, let known = other.number { return number == known }
      return name.equalsIgnoringCase(other.name)
    }
  }

  /// Names the charset in Content-Type, and adds the stage that recodes if one is needed.
  func chooseCharset(_ settings: Borrowed<FilterSettings>, mayRecode: Bool) {
    guard let type = response.contentType, !type.isEmpty else { return }
    // Old browsers would take the charset of a redirect for that of its target.
    if response.status == 301 || response.status == 302 { return }
    let charset = settings.charset
    let given = charsetParameter(of: type)
    let wanted: Charset
    if isPart {
      guard let page = pageCharset else { return }
      wanted = page
    } else {
      if charsetOrder == nil, case .none = charset.destination { return }
      guard charset.types.contains(type),
        let chosen = destination(charset, isGiven: given != nil)
      else { return }
      wanted = chosen
    }
    guard let current = given.map({ self.charset($0.name) }) ?? source(charset),
      !current.isSame(as: wanted)
    else { return nameCharset(wanted.name, type, given?.start) }
    // What is compressed can't be recoded; what may not be changed stays what it is.
    guard response.first(.contentEncoding) == nil, mayRecode else { return }
    guard let from = current.number, let to = wanted.number,
      let table = plan.charsets.table(from: from, to: to)
    else {
      let names = "\"\(current.name.string)\" and \"\(wanted.name.string)\""
      return log(.error, "no \"charset_map\" between the charsets \(names)")
    }
    // A part may begin in the middle of a character: it stays what it is, and says so.
    guard response.status != 206 || table.keepsLength else {
      return nameCharset(current.name, type, given?.start)
    }
    nameCharset(wanted.name, type, given?.start)
    recode(by: table)
  }

  private func recode(by table: RecodeTable) {
    if !table.keepsLength { becomeTransformed() }
    if response.hasBody { addStage(RecodeStage(table)) }
  }

  /// The charset of the page that this response becomes a part of.
  private var pageCharset: Charset? {
    guard let type = root.response.contentType else { return nil }
    return charsetParameter(of: type).map { charset($0.name) }
  }

  /// The charset that the response should have; nil: whatever it has.
  private func destination(_ settings: CharsetSettings, isGiven: Bool) -> Charset? {
    if let charsetOrder {
      let ordered = charset(charsetOrder)
      if ordered.number != nil { return ordered }
      log(.error, "unknown charset \"\(charsetOrder.string)\" in X-Accel-Charset")
      return nil
    }
    if isGiven && !settings.overrides { return nil }
    return chosen(settings.destination)
  }

  private func source(_ settings: CharsetSettings) -> Charset? { chosen(settings.source) }

  private func chosen(_ choice: CharsetSettings.Choice) -> Charset? {
    switch choice {
    case .none: return nil
    case .named(let number): return Charset(name: plan.charsets.spellings[number], number: number)
    case .computed(let template):
      let name = evaluate(template)
      if name.isEmpty || name == Bytes("off") { return nil }
      // A client may have a say in it: nothing but a word gets into the field.
      guard name.isToken else {
        log(.error, "\"\(name.string)\" is no charset")
        return nil
      }
      return charset(name)
    }
  }

  private func charset(_ name: Bytes) -> Charset {
    Charset(name: name, number: plan.charsets.find(name))
  }

  private func nameCharset(_ name: Bytes, _ type: Bytes, _ start: Int?) {
    let bare = start.map { type.prefix($0) } ?? type
    response.contentType = concatenate(bare, Bytes("; charset="), name)
  }

  /// The charset that a Content-Type field names, and where its parameter begins.
  private func charsetParameter(of type: Bytes) -> (name: Bytes, start: Int)? {
    guard var position = type.firstIndex(of: UInt8(ascii: ";")) else { return nil }
    while position < type.count {
      let end = type.firstIndex(of: UInt8(ascii: ";"), from: position + 1) ?? type.count
      let parameter = type.slice(position + 1, end).trimmed
      if parameter.count > 8, parameter.hasPrefixIgnoringCase(Bytes("charset=")) {
        var name = parameter.dropping(8)
        if name.count > 2, name[0] == 0x22, name[name.count - 1] == 0x22 {
          name = name.slice(1, name.count - 1)
        }
        return (name, position)
      }
      position = end
    }
    return nil
  }
}

extension RecodeTable {
  /// Whether what it makes of a body is as long as the body.
  var keepsLength: Bool {
    if case .bytes = self { return true }
    return false
  }
}

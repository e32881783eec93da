// The directive of ngx_http_geo_module (https://nginx.org/en/docs/http/ngx_http_geo_module.html).

import Configuration
import HTTP

extension Row {
  static let geoRows: [Row] = [
    Row(
      "geo", .http, 1...2,
      "A variable that depends on the client's address, or on the address in another variable."
    ) { scope, directive throws(Refusal) in
      let isClient = directive.arguments.count == 1
      let name = try variableName(directive, isClient ? 0 : 1)
      if Builtin(named: name) != nil {
        throw Refusal("the duplicate \"\(name)\" variable", argument: isClient ? 0 : 1)
      }
      let source = isClient ? nil : try scope.template("$" + variableName(directive, 0), 0)
      var reader = GeoReader(scope)
      let draft = reader.read(directive)
      let slot = scope.builder.define(name)
      let table = GeoTable(draft, source: source, scope.builder.store)
      scope.builder.maps[slot] = MapVariable(.geo(table), isVolatile: draft.isVolatile)
    }.block().at(.definition)
  ]
}

/// Reads the lines of a `geo` block.
private struct GeoReader {
  private let scope: Scope
  private var draft = GeoDraft()

  init(_ scope: Scope) { self.scope = scope }

  mutating func read(_ directive: Directive) -> GeoDraft {
    for line in directive.block ?? [] {
      do throws(Refusal) {
        try read(line: line)
      } catch {
        scope.builder.diagnostics.error(error.message, at: line.name)
      }
    }
    return draft
  }

  private mutating func read(line: Directive) throws(Refusal) {
    let key = line.name.text
    if line.arguments.isEmpty {
      switch key {
      case "ranges":
        if !draft.networks.isEmpty {
          throw Refusal("\"ranges\" must be the first line of \"geo\"")
        }
        draft.hasRanges = true
      case "volatile": draft.isVolatile = true
      case "proxy_recursive": draft.isRecursive = true
      default: throw Refusal("a line of \"geo\" is an address and a value: \"\(key)\" has no value")
      }
      return
    }
    guard line.arguments.count == 1, line.block == nil else {
      throw Refusal(
        "a line of \"geo\" is an address and a value: \"\(key)\" has \(line.arguments.count) values"
      )
    }
    let value = line.text(0)
    switch key {
    case "default": draft.standard = value
    case "proxy": draft.proxies.networks.append(try network(value, line.arguments[0]))
    case "delete": try delete(line)
    default:
      if draft.hasRanges { try insert(range: line) } else { try insert(network: line) }
    }
  }

  private mutating func insert(network line: Directive) throws(Refusal) {
    let network = try network(line.name.text, line.name)
    let index = draft.index(of: line.text(0))
    let key = GeoDraft.key(network)
    if let former = draft.networks.updateValue((network, index), forKey: key) {
      let old = draft.values[Int(former.value)]
      scope.warn(
        """
        duplicate network "\(line.name.text)": "\(line.text(0))" takes the place of "\(old)"
        """,
        line.name)
    }
  }

  private mutating func insert(range line: Directive) throws(Refusal) {
    var range = try range(line.name.text)
    range.value = draft.index(of: line.text(0))
    switch draft.ranges.insert(range) {
    case .nothing, .around: break
    case .same: scope.warn("duplicate range \"\(line.name.text)\": the later one holds", line.name)
    case .overlapping:
      scope.warn(
        "range \"\(line.name.text)\" overlaps others and takes its addresses from them", line.name)
    }
  }

  private mutating func delete(_ line: Directive) throws(Refusal) {
    let word = line.text(0)
    let isFound =
      draft.hasRanges
      ? draft.ranges.remove(try range(word))
      : draft.networks.removeValue(
        forKey: GeoDraft.key(try network(word, line.arguments[0]))) != nil
    if !isFound { scope.warn("nothing is there to delete: \"\(word)\"", line.arguments[0]) }
  }

  private func network(_ text: String, _ word: Word) throws(Refusal) -> IPNetwork {
    guard let network = text.withBytes({ IPNetwork($0) }) else {
      throw Refusal(
        "\"\(text)\" is no network; write one as \"10.0.0.0/8\" or \"2001:db8::/32\""
          + (text.contains("-") ? ", or put \"ranges;\" first" : ""))
    }
    if GeoDraft.key(network).address != network.address {
      scope.warn("bits of \"\(text)\" behind its prefix mean nothing", word)
    }
    return network
  }

  private func range(_ text: String) throws(Refusal) -> RangeList.Interval {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map {
      String($0).withBytes { IPAddress($0) }
    }
    guard ends.count == 2, let first = ends[0], let last = ends[1], !first.isV6, !last.isV6,
      first.low <= last.low
    else {
      throw Refusal("\"\(text)\" is no range; write one as \"10.0.0.0-10.0.0.255\"")
    }
    return .init(first: first.numberOfFour, last: last.numberOfFour, value: 0)
  }
}

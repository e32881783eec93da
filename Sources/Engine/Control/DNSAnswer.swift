// What a DNS server says of a service: SRV records (RFC 2782), and the alias that stands for them
// (CNAME). c-ares sends the question and checks that the answer belongs to it, but its own parser
// of SRV leaves times to live out. Every byte comes from the network: reading past the end, a loop
// of pointers or a name that is none make the answer invalid, never more.

/// One SRV record.
struct ServiceRecord: Sendable, Equatable {
  let target: String
  let port: UInt16
  /// The lowest is asked first.
  let priority: Int
  let weight: Int
}

/// An answer to a question for SRV records.
struct DNSAnswer: Equatable {
  // Bound: records taken of one answer, and aliases followed in it.
  static let recordLimit = 256
  static let aliasLimit = 8

  /// The records, in the order in which they came.
  var services: [ServiceRecord] = []
  /// The name that the last alias leads to; nil: there is none.
  var alias: String?
  /// For how long all of this holds, in seconds.
  var timeToLive = Int(Int32.max)

  /// Reads a message (RFC 1035 §4.1) that answers a question for `name`; nil if it is none.
  init?(_ message: [UInt8], name: String) {
    var reader = DNSReader(message)
    guard reader.skip(4), let questions = reader.number(2), let answers = reader.number(2),
      reader.skip(4)
    else { return nil }
    for _ in 0..<questions {
      guard reader.name() != nil, reader.skip(4) else { return nil }
    }
    var found: [(owner: String, service: ServiceRecord, seconds: Int)] = []
    var aliases: [String: (name: String, seconds: Int)] = [:]
    for _ in 0..<min(answers, Self.recordLimit) {
      guard let owner = reader.name()?.lowercased(), let type = reader.number(2),
        let family = reader.number(2), let ttl = reader.number(4), let count = reader.number(2),
        let end = reader.end(of: count)
      else { return nil }
      // RFC 2181 §8: a time with its highest bit set is none.
      let seconds = ttl > Int(Int32.max) ? 0 : ttl
      if family == 1 && type == 33 {
        guard let service = Self.service(&reader) else { return nil }
        found.append((owner, service, seconds))
      } else if family == 1 && type == 5 {
        guard let target = reader.name() else { return nil }
        aliases[owner] = (target, seconds)
      }
      reader.position = end
    }
    var owner = name.lowercased()
    // Bound: aliases may form a circle.
    for _ in 0..<Self.aliasLimit {
      guard let next = aliases[owner] else { break }
      alias = next.name
      owner = next.name.lowercased()
      timeToLive = min(timeToLive, next.seconds)
    }
    for record in found where record.owner == owner {
      timeToLive = min(timeToLive, record.seconds)
      // RFC 2782: the root as target says that there is no such service.
      if !record.service.target.isEmpty { services.append(record.service) }
    }
  }

  private static func service(_ reader: inout DNSReader) -> ServiceRecord? {
    guard let priority = reader.number(2), let weight = reader.number(2),
      let port = reader.number(2), let target = reader.name()
    else { return nil }
    return ServiceRecord(
      target: target, port: UInt16(port), priority: priority, weight: max(1, weight))
  }
}

/// Reads fields of a DNS message; nil wherever there is none.
private struct DNSReader {
  // RFC 1035 §2.3.4: the longest name. Pointers that lead nowhere are as many at most.
  private static let longestName = 255

  private let bytes: [UInt8]
  var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func skip(_ count: Int) -> Bool {
    guard let end = end(of: count) else { return false }
    position = end
    return true
  }

  /// Where the next `count` bytes end.
  func end(of count: Int) -> Int? {
    count <= bytes.count - position ? position + count : nil
  }

  /// A number of `count` bytes, the highest first.
  mutating func number(_ count: Int) -> Int? {
    guard let end = end(of: count) else { return nil }
    defer { position = end }
    return bytes[position..<end].reduce(0) { $0 << 8 | Int($1) }
  }

  /// A name without its last dot, its pointers followed (RFC 1035 §4.1.4); empty for the root.
  /// Labels hold printable ASCII other than dots, as names of hosts and services do.
  mutating func name() -> String? {
    var text: [UInt8] = []
    var at = position
    var end: Int?
    for _ in 0..<Self.longestName {
      guard at < bytes.count else { return nil }
      let length = Int(bytes[at])
      if length == 0 {
        position = end ?? at + 1
        return String(decoding: text, as: UTF8.self)
      }
      if length >= 0xc0 {
        guard at + 1 < bytes.count else { return nil }
        if end == nil { end = at + 2 }
        at = (length & 0x3f) << 8 | Int(bytes[at + 1])
        continue
      }
      guard length < 0x40, at + length < bytes.count else { return nil }
      let label = bytes[(at + 1)...(at + length)]
      guard label.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x2e }),
        text.count + length + 1 <= Self.longestName
      else { return nil }
      if !text.isEmpty { text.append(0x2e) }
      text += label
      at += length + 1
    }
    return nil
  }
}

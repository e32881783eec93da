// The second half of looking a service up: SRV records name hosts, and each of those has addresses
// of its own. Held by ResolverNames while the hosts are being asked for; values only.

/// A service on its way from records to addresses.
struct ServiceLookup {
  private let records: [ServiceRecord]
  /// For how long the whole holds.
  private(set) var timeToLive: Milliseconds
  private var found: [String: [SocketAddress]] = [:]
  private var awaited: Set<String>
  /// Why a host could not be looked up: then nothing of the service is certain.
  private(set) var failure: LookupFailure?

  init(_ records: [ServiceRecord], timeToLive: Milliseconds) {
    self.records = records
    self.timeToLive = timeToLive
    awaited = Set(records.map(\.target))
  }

  /// The hosts that have to be asked for, each once.
  var targets: [String] { awaited.sorted() }

  /// Whether every host was answered.
  var isComplete: Bool { awaited.isEmpty }

  /// Takes the answer for a host. One that does not exist, or has no address, has no servers.
  mutating func take(_ result: LookupResult, for target: String) {
    guard awaited.remove(target) != nil else { return }
    switch result {
    case .addresses(let addresses, let timeToLive):
      found[target] = addresses
      self.timeToLive = min(self.timeToLive, timeToLive)
    case .failed(.notFound), .failed(.empty), .services: break
    case .failed(let failure): self.failure = failure
    }
  }

  /// The addresses of the service: those of the lowest priority first, the others as backups
  /// (https://nginx.org/en/docs/http/ngx_http_upstream_module.html#service).
  var members: [NamedAddress] {
    let first = records.map(\.priority).min() ?? 0
    let ordered =
      records.filter { $0.priority == first }
      + records.filter { $0.priority != first }.sorted { $0.priority < $1.priority }
    return ordered.flatMap { record in
      (found[record.target] ?? []).map { address in
        var address = address
        address.port = record.port
        return NamedAddress(
          address: address, weight: record.weight, isBackup: record.priority != first)
      }
    }
  }
}

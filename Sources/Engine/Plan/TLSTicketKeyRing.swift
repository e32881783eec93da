// Ticket keys of the whole process: a rotating set for sites that name no files, one for each
// `ssl_session_timeout`, and a set for each list of files. They outlive reloads, so that tickets
// do.

import HTTP
import Synchronization

/// The sets of ticket keys of a process; shared by all threads.
final class TLSTicketKeyRing: Sendable {
  private let rotating = Mutex<[Int: TLSTicketKeys]>([:])
  private let fromFiles = Mutex<[[String]: TLSTicketKeys]>([:])

  /// The keys for a site; files that changed replace what was read before.
  func keys(for settings: Shared<TLSSettings>, _ builder: PlanBuilder) throws(Refusal)
    -> TLSTicketKeys
  {
    let paths = settings.ticketKeys.map(\.text)
    if paths.isEmpty { return keys(rotatedAfter: max(settings.sessionTimeoutSeconds, 1)) }
    var files: [[UInt8]] = []
    for path in paths { files.append(try builder.read(path, nil)) }
    let known = fromFiles.withLock { $0[paths] }
    do throws(TLSConfigurationError) {
      if let known {
        try known.replace(files: files, paths: paths)
        return known
      }
      let made = try TLSTicketKeys(files: files, paths: paths)
      fromFiles.withLock { $0[paths] = made }
      return made
    } catch {
      throw Refusal(error.message)
    }
  }

  /// A key encrypts for as long as its tickets are good, and decrypts for at least as long again.
  private func keys(rotatedAfter seconds: Int) -> TLSTicketKeys {
    rotating.withLock { sets in
      if let known = sets[seconds] { return known }
      let made = TLSTicketKeys(rotationSeconds: seconds)
      sets[seconds] = made
      return made
    }
  }
}

extension TLSProtocols {
  /// The set of the versions that `ssl_protocols` names; those that OpenSSL lacks are left out.
  init(names: [String]) {
    self = []
    for name in names {
      switch name {
      case "TLSv1": insert(.tls10)
      case "TLSv1.1": insert(.tls11)
      case "TLSv1.2": insert(.tls12)
      case "TLSv1.3": insert(.tls13)
      default: break
      }
    }
  }
}

// The written form of orders and answers: a number for the case, then its values.

extension WorkerOrder {
  func encoded() -> [UInt8] {
    var writer = BundleWriter()
    switch self {
    case .descriptors(let items):
      writer.number(1)
      writer.list(items) { $1.encode(to: &$0) }
    case .forget(let ids):
      writer.number(2)
      writer.list(ids) { $0.number($1) }
    case .apply(let generation, let identity, let settings):
      writer.number(3)
      writer.signed(generation)
      writer.flag(identity != nil)
      if let identity {
        writer.number(UInt64(identity.user))
        writer.number(UInt64(identity.group))
        writer.list(identity.groups) { $0.number(UInt64($1)) }
      }
      writer.signed(settings.descriptorLimit ?? -1)
      writer.signed(settings.coreBytes ?? -1)
      writer.signed(settings.priority)
      writer.string(settings.workingFolder ?? "")
    case .reopened: writer.number(4)
    case .drain(let deadline):
      writer.number(5)
      writer.signed(deadline ?? -1)
    case .stop: writer.number(6)
    case .renew(let renewals):
      writer.number(7)
      writer.list(renewals) { writer, renewal in
        writer.string(renewal.certificatePath)
        writer.string(renewal.keyPath)
        writer.blob(renewal.certificatePEM)
        writer.blob(renewal.keyPEM)
      }
    }
    return writer.bytes
  }

  init?(decoding bytes: [UInt8]) {
    var reader = BundleReader(bytes)
    switch reader.number() {
    case 1:
      var items: [SentDescriptor] = []
      reader.list { if let item = SentDescriptor(decoding: &$0) { items.append(item) } }
      self = .descriptors(items)
    case 2:
      var ids: [UInt64] = []
      reader.list { ids.append($0.number()) }
      self = .forget(ids)
    case 3:
      let generation = reader.signed()
      var identity: Identity?
      if reader.flag() {
        var read = Identity(
          user: UInt32(truncatingIfNeeded: reader.number()),
          group: UInt32(truncatingIfNeeded: reader.number()), groups: [])
        reader.list { read.groups.append(UInt32(truncatingIfNeeded: $0.number())) }
        identity = read
      }
      // The environment was given with the start.
      var settings = ProcessSettings()
      let (descriptors, coreBytes) = (reader.signed(), reader.signed())
      settings.descriptorLimit = descriptors < 0 ? nil : descriptors
      settings.coreBytes = coreBytes < 0 ? nil : coreBytes
      settings.priority = reader.signed()
      let folder = reader.string()
      settings.workingFolder = folder.isEmpty ? nil : folder
      self = .apply(generation: generation, identity: identity, settings: settings)
    case 4: self = .reopened
    case 5:
      let deadline = reader.signed()
      self = .drain(deadlineMs: deadline < 0 ? nil : deadline)
    case 6: self = .stop
    case 7:
      var renewals: [CertificateRenewal] = []
      reader.list { reader in
        renewals.append(
          CertificateRenewal(
            certificatePath: reader.string(), keyPath: reader.string(),
            certificatePEM: reader.blob(), keyPEM: reader.blob()))
      }
      self = .renew(renewals)
    default: return nil
    }
    if reader.isBroken || !reader.isAtEnd { return nil }
  }
}

extension SentDescriptor {
  fileprivate func encode(to writer: inout BundleWriter) {
    switch self {
    case .bundle: writer.number(1)
    case .listener(let id, let key):
      writer.number(2)
      writer.number(id)
      writer.string(key.address)
      writer.signed(key.index)
    case .log(let path):
      writer.number(3)
      writer.string(path)
    case .order: writer.number(4)
    }
  }

  fileprivate init?(decoding reader: inout BundleReader) {
    switch reader.number() {
    case 1: self = .bundle
    case 2:
      self = .listener(
        id: reader.number(), BoundListener.Key(address: reader.string(), index: reader.signed()))
    case 3: self = .log(path: reader.string())
    case 4: self = .order
    default: return nil
    }
  }
}

extension WorkerAnswer {
  func encoded() -> [UInt8] {
    var writer = BundleWriter()
    switch self {
    case .ready(let generation):
      writer.number(1)
      writer.signed(generation)
    case .failed(let generation, let problems):
      writer.number(2)
      writer.signed(generation)
      writer.list(problems) { $0.string($1) }
    case .lackedLogs: writer.number(3)
    }
    return writer.bytes
  }

  init?(decoding bytes: [UInt8]) {
    var reader = BundleReader(bytes)
    switch reader.number() {
    case 1: self = .ready(generation: reader.signed())
    case 2:
      let generation = reader.signed()
      var problems: [String] = []
      reader.list { problems.append($0.string()) }
      self = .failed(generation: generation, problems: problems)
    case 3: self = .lackedLogs
    default: return nil
    }
    if reader.isBroken || !reader.isAtEnd { return nil }
  }
}

// What the exchanges of one worker share, besides its loop: slabs, kept connections, files, logs.

import HTTP

/// The state of one worker thread that outlives connections and plans.
final class WorkerCore {
  let loop: Loop
  let index: Int
  let clock: LogClock
  var fileCaches = FileCaches()
  var hotResponses = HotResponses()
  var passwordFiles = PasswordFiles()
  var passwordChecks = PasswordChecks()
  var inquiries = CertificateInquiries()
  var userIDs = UserIDMaker()
  private(set) var errorLog: ErrorLog
  let registry: PeerRegistry
  let control: (any ControlPort)?
  /// What this thread counts, and what all of them do.
  let counters: WorkerCounters
  let allCounters: CounterBlocks
  private(set) var plan: Plan
  var exchanges = Slab<Exchange>(kind: .exchange)
  /// The client of exchanges that have none.
  let nobody = ClientStream(ConnectionFacts())
  var upstreams: UpstreamPool
  var h2Upstreams: H2UpstreamPool
  var accessLogs: AccessLogs
  let deflaters = DeflaterPool()
  let inflaters = InflaterPool()
  /// Groups for computed destinations.
  var adHocGroups: [String: UpstreamGroup] = [:]
  /// OpenSSL's state of this thread.
  let tlsLibrary: TLSLibrary
  var isDraining = false
  /// Exchanges without a client.
  var detachedCount = 0
  /// Those of them that are mirrored requests.
  var mirrorCount = 0
  /// That there are too many was said.
  var leavesMirrorsOut = false
  /// Open client connections.
  var clientCount = 0
  let hostName: Bytes
  let acceptTimer: TimerWheel.ID
  /// Takes the slot of a closed connection back.
  var clientClosed: (Handle) -> Void = { _ in }
  /// Ends connections that serve nothing if there may be no more; whether that helped.
  var makeRoom: () -> Bool = { false }
  private let store = ByteStore()
  /// Descriptors of logs by path. Beside those of `accessLogs`, which is in use while a line for
  /// an access log is made: making it may have something to tell an error log.
  private var logFiles: [String: Int32] = [:]
  private var errorLogs: [[ErrorLogSettings]: ErrorLog] = [:]
  private var serial: UInt64

  init(
    loop: Loop, index: Int, plan: Plan, errorLog: ErrorLog, registry: PeerRegistry,
    control: (any ControlPort)?, hostName: String,
    counters: CounterBlocks
  ) {
    self.loop = loop
    self.index = index
    self.plan = plan
    self.errorLog = errorLog
    self.registry = registry
    self.control = control
    allCounters = counters
    self.counters = counters.block(index)
    clock = LogClock(wallMs: loop.wallTime)
    upstreams = UpstreamPool(loop: loop)
    h2Upstreams = H2UpstreamPool(loop: loop)
    accessLogs = AccessLogs(errorLog: errorLog)
    tlsLibrary = TLSLibrary()
    self.hostName = store.append(hostName)
    acceptTimer = loop.makeTimer()
    serial = 0
    plan.staples.port = control
  }

  /// Lets `plan` hold for whatever begins from here on.
  func install(_ plan: Plan, logs: [String: Int32], errorLog: ErrorLog) {
    self.errorLog = errorLog
    accessLogs.install(logs, plan.logBuffering, errorLog, now: loop.now)
    logFiles = logs
    errorLogs = [:]
    self.plan = plan
    plan.staples.port = control
  }

  /// What chooses the certificates of an address. Made when it is first asked for, so that taking a
  /// plan up takes the same time whatever its size.
  func nameResolver(_ address: AddressPlan, of plan: Plan) -> TLSNameResolver {
    if let made = address.resolver { return made }
    let made = DynamicNameResolver(address, self, plan)
    address.resolver = made
    return made
  }

  /// The error log of a block that has its own.
  func errorLog(for settings: [ErrorLogSettings]) -> ErrorLog {
    if let known = errorLogs[settings] { return known }
    let log = ErrorLog(settings, logFiles)
    errorLogs[settings] = log
    return log
  }

  /// Takes an exchange for `stream`.
  func takeExchange(_ stream: ClientStream, _ plan: Plan? = nil) -> Exchange {
    let (exchange, handle) = exchanges.take { Exchange(core: self) }
    clock.update(wallMs: loop.wallTime)
    exchange.start(handle: handle, stream: stream, plan)
    return exchange
  }

  /// Numbers connections for logs and `$connection`; unique over all workers.
  func nextSerial() -> UInt64 {
    serial += 1
    return serial * 256 + UInt64(index & 255)
  }

  /// What `worker_connections` limits.
  var connectionCount: Int { clientCount + upstreams.count + h2Upstreams.count }

  /// Whether `worker_connections` allows another connection.
  var hasFreeConnection: Bool { connectionCount < plan.main.workerConnections }

  /// Whether there may be another connection, for whose sake others may have to end.
  func takesConnection() -> Bool { hasFreeConnection || makeRoom() }

  /// Asks the control thread to resolve `name`; the exchange hears of it by `onResolved`.
  func resolve(_ name: String, _ settings: ResolverSettings, _ exchange: Handle) {
    control?.resolve(name, settings, token: exchange.raw, worker: index)
  }
}

extension WorkerCore {
  /// Has credentials checked by the thread for that; the exchange hears of it by
  /// `onPasswordChecked`. False: too many are waiting.
  func check(_ job: PasswordJob, for exchange: Handle) -> Bool {
    let address = exchanges.object(exchange)?.clientAddress.ip
    switch passwordChecks.wait(exchange, at: address, for: job) {
    case .waits: return true
    case .isTooMany: return false
    case .asks:
      if control?.check(job) == true { return true }
      _ = passwordChecks.conclude(job.digest, isRight: false)
      return false
    }
  }

  /// An exchange doesn't wait for its password any more.
  func leavePasswordCheck(_ exchange: Handle) {
    if let next = passwordChecks.leave(exchange) { ask(next) }
  }

  /// The thread has checked credentials.
  func onPasswordChecked(_ digest: CredentialDigest, isRight: Bool) {
    let (handles, next) = passwordChecks.conclude(digest, isRight: isRight)
    if let next { ask(next) }
    for handle in handles {
      guard let exchange = exchanges.object(handle) else { continue }
      exchange.onPasswordChecked(digest, isRight: isRight)
      if exchange.state != .idle { exchange.stream.flush() }
    }
  }

  /// Tells the thread of a job whose turn has come: it runs, since it was told of another before.
  private func ask(_ job: PasswordJob) {
    if control?.check(job) != true { onPasswordChecked(job.digest, isRight: false) }
  }
}

/// The way from a worker to the threads that work for all of them.
protocol ControlPort: StaplePort {
  /// Has a responder asked about a client's certificate; the worker gets
  /// `WorkerMessage.certificateJudged`.
  func askStatus(_ request: StatusRequest)
  /// Has a password checked; the worker gets `WorkerMessage.passwordChecked`. False: it won't.
  func check(_ job: PasswordJob) -> Bool
  /// Tells exchanges that what they wait for in a cache is there, or isn't; they get
  /// `WorkerMessage.cacheReleased`.
  func wake(_ waiters: [CacheWaiter])
  /// Asks for the addresses of `name`; the worker gets `WorkerMessage.resolved` with `token`.
  func resolve(_ name: String, _ settings: ResolverSettings, token: UInt64, worker: Int)
}

/// The file caches of a worker: one for each `open_file_cache`, and one that keeps nothing.
struct FileCaches {
  private let pool = CachedFilePool()
  private let none: OpenFileCache
  private var caches: [FileCacheSettings: OpenFileCache] = [:]

  init() { none = OpenFileCache(max: 0, inactive: 0, pool: pool) }

  subscript(settings: FileCacheSettings?) -> OpenFileCache {
    mutating get {
      guard let settings else { return none }
      if let cache = caches[settings] { return cache }
      let cache = OpenFileCache(
        max: settings.maxEntries, inactive: settings.inactive, pool: pool)
      caches[settings] = cache
      return cache
    }
  }

  /// Whether the file at `path` may be executed, or the folder looked into, by its owner.
  func isExecutable(_ path: Bytes, _ links: SymlinkPolicy) -> Bool {
    guard case .success(let status) = pool.status(path, links) else { return false }
    return status.isExecutable
  }
}

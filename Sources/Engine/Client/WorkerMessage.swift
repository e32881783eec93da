// What workers are told, what they tell, and what the workers of a process share. All of it crosses
// threads: by a mailbox, or by being safe to be used from several (ARCHITECTURE.md, "Processes and
// threads"). `Worker` takes the messages in; `WorkerProcess` posts them and takes the reports.

/// What other threads tell a worker.
enum WorkerMessage: Sendable {
  /// A new configuration, with all listeners that it has.
  case plan(
    Handover<Plan>, listeners: [ListenerSocket], logs: [String: Int32], errorLog: ErrorLog)
  /// Finish what is under way, accept nothing, end; after `deadlineMs` at the latest.
  case drain(deadlineMs: Int?)
  /// End at once.
  case stop
  /// The servers of an upstream have changed.
  case peers(upstream: String, servers: [ResolvedServer])
  /// A name that an exchange waits for.
  case resolved(exchange: UInt64, name: String, addresses: [SocketAddress], problem: String?)
  /// Credentials that exchanges wait for were checked.
  case passwordChecked(CredentialDigest, isRight: Bool)
  /// What an exchange waits for in a cache was stored, or wasn't.
  case cacheReleased(exchange: UInt64)
  /// Certificates to exchange for newer ones.
  case renewed([CertificateRenewal])
  /// What an OCSP responder said.
  case stapled(OCSPQuestion, StapleOutcome)
  /// What is known of a client's certificate, for the inquiry of this token.
  case certificateJudged(UInt64, CertificateVerdict)
  /// Write what buffers of access logs hold: their files are about to be replaced.
  case flushLogs
  /// Close listening sockets that no thread polls any more.
  case close([Int32])
}

/// A bound socket, and what it is to be used for.
struct ListenerSocket: Sendable {
  let settings: ListenSettings
  let fd: Int32
}

/// What the workers of a process share, all of it safe to share.
struct WorkerShared: Sendable {
  var errorLog: ErrorLog
  var registry: PeerRegistry
  var control: (any ControlPort)?
  var hostName: String
  var counters: CounterBlocks
  /// What the main thread of the process is told.
  var reports: Mailbox<WorkerReport>
}

/// What a worker tells the main thread of its process.
enum WorkerReport: Sendable {
  /// The worker serves by the plan it was sent last.
  case planTaken(worker: Int)
  /// A plan that the worker is done with, to be freed where that stalls no loop.
  case planRetired(RetiredPlan, worker: Int)
  /// The worker did what `flushLogs` told it.
  case logsFlushed(worker: Int)
  /// The worker drains and polls no listening socket any more.
  case stoppedAccepting(worker: Int)
  /// The worker's thread is about to end.
  case ended(worker: Int)
}

/// A plan on its way to the thread that frees it: the one reference that is left.
///
/// - Safety: a worker makes one of a plan that nobody else refers to, and forgets it.
@safe
struct RetiredPlan: @unchecked Sendable {
  private let reference: Unmanaged<Plan>

  let id: ObjectIdentifier

  init(_ plan: Plan) {
    id = ObjectIdentifier(plan)
    unsafe reference = Unmanaged.passRetained(plan)
  }

  /// Frees the plan. Once.
  func free() { unsafe reference.release() }
}

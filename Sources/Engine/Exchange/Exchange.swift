// One request and its response, whoever asks and whatever answers.
//
//   start ─► receive head ─► begin ─► route ─► (read body) ─► perform ─► respond ─► finish
//                              ▲                   │
//                              └── error_page, try_files, rewrite: an internal redirect
//
// The client side is a `ClientStream`; the source of the response is a fixed answer, a file or an
// upstream attempt. `finish` is the only way out: log line, counters, slot back.

import HTTP

/// One request and its response.
@safe
final class Exchange {
  enum State {
    case idle
    /// The client stream is reading the head.
    case receiving
    /// Between begin and the first byte of the response.
    case working
    /// The request body is being buffered; `perform` follows.
    case readingBody
    /// A limit, or whoever checks a password, makes the request wait; `goOnAdmitting` follows.
    case waiting
    /// A name is being resolved; `onResolved` follows.
    case resolving
    /// An attempt at an upstream is under way.
    case attempting
    /// The response is complete as far as we are concerned; the stream sends the rest.
    case sending
    /// Bytes flow both ways, uninterpreted.
    case tunneling
  }

  let core: WorkerCore
  let loop: Loop
  private(set) var handle = Handle.none
  private(set) var stream: ClientStream
  var state = State.idle

  // What holds for this request.
  private(set) var plan: Plan
  var address: AddressPlan
  var site: Site
  var location: Location

  // The request. `headBytes` is what `request` is a table of.
  var request = RequestHead()
  var headBytes = Bytes()
  var isHead: Bool { method == .head }
  var method = Method.get
  var methodName = Bytes()
  /// The normalised path, which every rule looks at.
  var uri = Bytes()
  var arguments = Bytes()
  var host = Bytes()
  /// The target as the client sent it; of an absolute form the part behind the authority.
  var requestTarget = Bytes()
  /// Whether `uri` was changed since the request line was read.
  var uriWasChanged = false
  var isInternal = false
  /// Bound: internal redirects of one request (as in nginx, ten), a loop ends with a 500.
  var redirectsLeft = 11
  /// The client's address as somebody trusted said it.
  var realAddress: SocketAddress?
  var startedAt: Milliseconds = 0
  var keepAlive = true
  var requestedUpgrade = false
  var body = RequestBody()

  var counted = Counted.nothing

  // Scratch.
  var arena: Arena
  var values: [Bytes?] = []
  var captures = CaptureSet()
  var nesting = Nesting()
  var requestID: Bytes?
  /// What `userid` gives this client.
  var userID: UserID?
  /// The file that is being sent: in use until the exchange finishes.
  var openFile: CachedFile?
  /// The page of a 412, made while headers were filtered.
  var preconditionPage: Bytes?

  // The response.
  var response = OutgoingHead()
  var didSendHead = false
  var isErrorPage = false
  /// The status of the error that an error page stands for.
  var errorStatus = 0
  /// A field that belongs to that status, whatever the page: Location, Content-Range.
  var errorField: OutgoingField?
  /// Body bytes given to the stream, as stages made them.
  var bodyByteCount = 0
  /// Bytes a second; what the location says counts only if nothing set this before.
  var limitRate = 0
  var isLimitRateSet = false
  /// Body bytes go through `pacer`.
  var isPaced = false
  var pacer: Pacer?
  /// Body bytes go through the stages of `pipeline`.
  var isFiltered = false
  var pipeline: BodyPipeline?
  /// The cookies of an upstream that redirected inside: they reach the client even with an error.
  var redirectCookies: [OutgoingField] = []
  /// X-Accel-Charset: the charset that the upstream wants its response to have.
  var charsetOrder: Bytes?

  // What stands before the content.
  /// The step that is asked next.
  var admission = AdmissionStep.content
  /// The status that the steps so far refuse the request with; 0: none does.
  var refusal = 0
  var requestLimitOutcome = LimitOutcome.none
  var connectionLimitOutcome = LimitOutcome.none
  /// What `limit_conn` counts this request by.
  var countedConnections: [CountedConnection] = []
  /// WWW-Authenticate, once credentials were found missing or wrong.
  var challenges: [Bytes] = []
  /// The client side of the request that `auth_request` makes, once there was one.
  var inner: InnerStream?
  /// Whether another request made this one.
  var isInner = false
  /// The exchange that made this one.
  var owner: Exchange?
  /// How many exchanges are around this one.
  var depth = 0
  /// The client side of the include that is under way.
  var include: IncludeStream?
  /// What the commands of a page and of its includes know; of the outermost exchange.
  var pageState: PageState?
  /// What a `waiting` exchange waits for. Whatever else comes belongs to a wait that is over.
  private(set) var awaited = AdmissionWait.nothing
  private var admissionTimer: TimerWheel.ID?

  /// What the exchange has to do with a cache; nil: nothing (any more).
  var cache: CacheAccess?
  var cacheStatus = CacheStatus.none
  /// What is sent, in whose memory it may lie: in use until the exchange finishes.
  var storedResponse: StoredResponse?
  /// The part of the body that the client gets of a response that is cut out as it comes.
  var cut: BodyCut?
  /// The client left before there was an answer, the exchange goes on.
  var isAbandoned = false
  /// The whole response went out: `$request_completion`.
  var isAnswered = false
  /// The memory of the head, if it outlived its connection.
  var keptHead: Buffer?

  // The upstream side.
  let attempt = Attempt()
  /// The file that the response becomes (`proxy_store`).
  var stored: SavedResponse?
  var upstreamLog = UpstreamLog()
  var proxyHost = Bytes()
  var proxyPort = Bytes()
  var proxyURI: Bytes?
  /// The URI of proxy_pass was computed and replaces the whole target.
  var proxyURIIsComplete = false
  var proxyIsTLS = false
  var unresolved: UnresolvedDestination?
  /// Connection names fields that end here.
  var connectionNamesFields = false
  /// Bytes of the response's head.
  var headByteCount = 0
  /// Whether the path is still the one of the request line.
  var uriIsOriginal = true
  /// Whether the target of the request line still says what is asked for: `try_files` changes the
  /// path and not that.
  var targetIsCurrent = true
  /// An `alias` that stands for the whole path has the path behind it (`try_files` found it so).
  var aliasTakesPath = false
  /// Whether the path still begins with the location's prefix: `rewrite … break` ends that.
  var locationIsValid = true

  init(core: WorkerCore) {
    self.core = core
    loop = core.loop
    stream = core.nobody
    plan = core.plan
    address = plan.listens[0].addresses[0]
    site = address.defaultSite
    location = site.root
    arena = Arena(pool: core.loop.pool)
  }

  /// Begins a life: called when the first byte of a request is there. Without `plan`, the worker's
  /// holds.
  func start(handle: Handle, stream: ClientStream, _ plan: Plan?) {
    self.handle = handle
    if self.stream !== stream { self.stream = stream }
    state = .receiving
    if let plan {
      if self.plan !== plan { self.plan = plan }
    } else if self.plan !== core.plan {
      self.plan = core.plan
    }
    fitValues()
    startedAt = loop.now
  }

  /// Has `stream` be the client from here on.
  func attach(_ stream: ClientStream) { self.stream = stream }

  private func fitValues() {
    if values.count != plan.slotCount {
      values = [Bytes?](repeating: nil, count: plan.slotCount)
    }
  }

  /// Sets what holds before the request is known: what the address's default site says.
  func enter(_ address: AddressPlan) {
    if connection.plan !== plan, let current = connection.plan {
      plan = current
      fitValues()
    }
    // Most requests go where the one before went: comparing is cheaper than counting references.
    if self.address !== address { self.address = address }
    if site !== address.defaultSite { site = address.defaultSite }
    location = address.defaultSite.root
  }

  /// Refers to the current plan instead of a former one, which can then be freed. For an exchange
  /// that is over.
  func forgetFormerPlan() {
    guard plan !== core.plan, let listen = core.plan.listens.first else { return }
    plan = core.plan
    address = listen.addresses[0]
    site = address.defaultSite
    location = site.root
  }

  /// The facts of the client's connection.
  var connection: ConnectionFacts { stream.connection }

  /// The only way out: the stream calls it when the response is sent, or can't be.
  ///
  /// - Parameter isAnswered: the stream took all of the response, up to its proper end.
  func finish(isAnswered: Bool) {
    guard state != .idle else { return }
    self.isAnswered = isAnswered && state == .sending && !response.isBrokenOff
    stopWaiting()
    if let inner { inner.close() }
    if let include { include.close() }
    cancelUpstream()
    if isAbandoned { response.status = 499 }
    if !countedConnections.isEmpty { leaveConnections() }
    if !isInner || location.settings.log.value.logsInner { core.accessLogs.write(self) }
    countOut()
    state = .idle
    reset()
    forgetFormerPlan()
    core.exchanges.giveBack(handle)
    handle = .none
  }

  /// Ends an exchange that was no request: nothing is logged.
  func abandon() {
    countOut()
    state = .idle
    reset()
    core.exchanges.giveBack(handle)
    handle = .none
  }

  /// Lets the request wait. Meanwhile its body is nobody's: no deadline runs for it.
  func wait(for event: AdmissionWait) {
    state = .waiting
    awaited = event
    if let delay = event.delay {
      let timer = admissionTimer ?? loop.makeTimer()
      admissionTimer = timer
      loop.setTimer(timer, after: delay, for: handle.of(.admission))
    }
    stream.stopAwaitingBody()
    stream.noteWaiting()
  }

  /// What was waited for has come, or doesn't matter any more.
  func stopWaiting() {
    switch awaited {
    case .nothing: return
    case .delay, .cached:
      if let admissionTimer { loop.clearTimer(admissionTimer) }
      leaveCacheQueue()
    case .credentials: core.leavePasswordCheck(handle)
    case .answer: if state != .waiting { inner?.close() }
    }
    awaited = .nothing
  }

  /// Takes what the framing of the request says.
  func accept(_ framing: RequestFraming) {
    body.framing = framing.body
    body.expectsContinue = framing.expectsContinue
    keepAlive = framing.keepAlive
    requestedUpgrade = framing.upgrade
    connectionNamesFields = framing.namesFields
    host = framing.host.of(headBytes)
  }

  var clientText: String { clientAddress.host }

  /// Gives the file in use back, if there is one, and takes another.
  func use(_ file: CachedFile) {
    openFile?.release()
    openFile = file
  }

  /// The request line as sent.
  var requestLine: Bytes {
    var start = 0
    // Empty lines before a request are no part of it (RFC 9112 §2.2).
    while start < headBytes.count && (headBytes[start] == 13 || headBytes[start] == 10) {
      start += 1
    }
    var end = start
    while end < headBytes.count && headBytes[end] != 13 && headBytes[end] != 10 { end += 1 }
    return headBytes.slice(start, end)
  }
}

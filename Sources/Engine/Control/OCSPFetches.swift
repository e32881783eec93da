// Asking OCSP responders: one GET a question (RFC 6960 §A.1), on the control loop. Workers that ask
// the same are told the same, and what is known and fresh is told at once: about certificates of
// sites to all workers, which staple it, about a client's certificate to who waits for it.
//
//   resolving ──► connecting ──► sending ──► receiving ──► outcome
//                  └──◄──┘ (the next address)
//
// A responder that is slow holds nobody up: each question has a connection of its own and ten
// seconds.

import CLinux
import HTTP

/// Questions under way, and their outcomes.
final class OCSPFetches {
  // Bound: connections at once; further questions wait.
  private static let fetchLimit = 256
  // Bound: questions that wait for a connection. More clients are refused, as their status isn't
  // known.
  private static let waitingLimit = 4096
  private static let timeout: Milliseconds = 10_000
  // Bound: outcomes that are kept for workers that ask later.
  private static let outcomeLimit = 20_000

  private final class Fetch {
    let question: OCSPQuestion
    let timer: TimerWheel.ID
    var transport = Transport()
    var answer = HealthAnswer(match: nil, wantsBody: true)
    let request: Buffer
    let deadline: Milliseconds
    /// Where the responder may be as well.
    var furtherAddresses: ArraySlice<SocketAddress> = []
    /// How many connections were begun; tells their events apart.
    var attempt: UInt32 = 0
    var isConnected = false

    init(_ question: OCSPQuestion, _ timer: TimerWheel.ID, deadline: Milliseconds) {
      self.question = question
      self.timer = timer
      self.deadline = deadline
      let head =
        "GET \(question.target) HTTP/1.1\r\nHost: \(question.responder.authority)\r\n"
        + "User-Agent: portico\r\nAccept: application/ocsp-response\r\nConnection: close\r\n\r\n"
      request = Buffer(holding: Array(head.utf8))
    }

    deinit { transport.close() }
  }

  private let core: ControlCore
  private let resolver: Resolver
  private let sink: any ControlSink
  private var fetches: [Int: Fetch] = [:]
  private var numbers: [OCSPQuestion: Int] = [:]
  private var known: [OCSPQuestion: (outcome: StapleOutcome, freshUntil: Int)] = [:]
  private var next = 1
  private var waiting: [OCSPQuestion] = []
  /// Who waits to hear of a client's certificate.
  private var askers: [OCSPQuestion: [StatusRequest]] = [:]
  private var caches = StatusCaches()

  init(_ core: ControlCore, _ resolver: Resolver, _ sink: any ControlSink) {
    self.core = core
    self.resolver = resolver
    self.sink = sink
  }

  private var now: Int { Int(Clock.wall / 1000) }

  /// A worker wants to know.
  func ask(_ question: OCSPQuestion) {
    if let known = known[question], known.freshUntil > now {
      return sink.stapled(question, known.outcome)
    }
    guard numbers[question] == nil, !waiting.contains(question) else { return }
    enqueue(question)
  }

  /// Which answers about clients' certificates are kept from here on.
  func configure(_ settings: Set<StatusCacheSettings>) { caches.configure(settings) }

  /// A worker has a client that waits.
  func ask(_ request: StatusRequest) {
    if let cache = request.cache,
      let verdict = caches.verdict(request.question.digest, in: cache, now: now)
    {
      return sink.judged(request, verdict)
    }
    if askers[request.question] != nil {
      askers[request.question]?.append(request)
      return
    }
    askers[request.question] = [request]
    if waiting.count < Self.waitingLimit { return enqueue(request.question) }
    conclude(request.question, "too many questions are being asked")
  }

  private func enqueue(_ question: OCSPQuestion) {
    if fetches.count < Self.fetchLimit { begin(question) } else { waiting.append(question) }
  }

  private func begin(_ question: OCSPQuestion) {
    let number = next
    next += 1
    let fetch = Fetch(question, core.wheel.makeEntry(), deadline: core.now + Self.timeout)
    fetches[number] = fetch
    numbers[question] = number
    core.wheel.set(fetch.timer, at: fetch.deadline, for: Handle(.ocsp, slot: number))
    resolver.ask(question.responder.host, nil, for: .ocsp(number))
  }

  /// Where the responder of fetch `number` is.
  func onAnswer(_ number: Int, _ result: LookupResult) {
    guard let fetch = fetches[number] else { return }
    guard case .addresses(let addresses, _) = result, !addresses.isEmpty else {
      return finish(number, "the responder's name can't be resolved")
    }
    // IPv4 first: many networks have no way out for IPv6, and some only seem to.
    let isIPv4 = { (address: SocketAddress) in address.addressBytes.count == 4 }
    fetch.furtherAddresses = (addresses.filter(isIPv4) + addresses.filter { !isIPv4($0) })[...]
    connect(number, fetch)
  }

  /// Begins to connect to the next address.
  private func connect(_ number: Int, _ fetch: Fetch) {
    guard var address = fetch.furtherAddresses.popFirst() else { return }
    address.port = fetch.question.responder.port
    fetch.attempt += 1
    let handle = Handle(.ocsp, slot: number, generation: fetch.attempt)
    // An address that doesn't answer leaves time for the others, and for the responder's answer.
    let share = max(1, (fetch.deadline - core.now) / (fetch.furtherAddresses.count + 2))
    let end = fetch.furtherAddresses.isEmpty ? fetch.deadline : core.now + share
    core.wheel.set(fetch.timer, at: end, for: handle)
    fetch.transport.close()
    let fd: Int32
    switch Socket.open(to: address) {
    case .failure(let error): return giveUp(number, fetch, "connect() failed \(error.logText)")
    case .success(let opened): fd = opened
    }
    fetch.transport.open(fd, readable: false, writable: false)
    do throws(SystemError) {
      try core.poller.add(fd, handle)
    } catch { finish(number, "epoll \(error.logText)") }
  }

  /// An address didn't take the connection. The last one's problem is what is told.
  private func giveUp(_ number: Int, _ fetch: Fetch, _ problem: String) {
    if fetch.furtherAddresses.isEmpty { return finish(number, problem) }
    connect(number, fetch)
  }

  /// The socket of a fetch is ready.
  func onEvent(_ handle: Handle, _ readiness: Readiness) {
    guard let fetch = fetches[handle.slot], handle.generation == fetch.attempt else { return }
    fetch.transport.note(readiness)
    if !fetch.isConnected {
      if readiness.isDisjoint(with: [.writable, .broken]) { return }
      if let error = Socket.pendingError(fetch.transport.fd) {
        return giveUp(handle.slot, fetch, "connect() failed \(error.logText)")
      }
      fetch.isConnected = true
      core.wheel.set(fetch.timer, at: fetch.deadline, for: handle)
    }
    while !fetch.request.isEmpty {
      switch fetch.transport.send(fetch.request.unread, more: false) {
      case .wouldBlock: return
      case .end: return finish(handle.slot, "the connection was closed")
      case .failed(let error): return finish(handle.slot, "send() failed \(error.logText)")
      case .bytes(let count): fetch.request.consume(count)
      }
    }
    switch fetch.answer.receive(&fetch.transport) {
    case nil: return
    case .failed(let reason), .undecided(let reason): finish(handle.slot, reason)
    case .passed(let reason): judge(handle.slot, fetch, reason)
    }
  }

  /// A fetch takes too long, or its connecting does.
  func onTimer(_ handle: Handle) {
    guard let fetch = fetches[handle.slot] else { return }
    let problem = "no answer within 10 s"
    if fetch.isConnected { return finish(handle.slot, problem) }
    giveUp(handle.slot, fetch, problem)
  }

  /// Drops all fetches.
  func close() {
    waiting = []
    askers = [:]
    fetches = [:]
  }

  private func judge(_ number: Int, _ fetch: Fetch, _ status: String) {
    guard fetch.answer.statusCode == 200 else { return finish(number, "the answer is \(status)") }
    let body = fetch.answer.content
    let verdict = fetch.question.judge(body)
    if askers[fetch.question] != nil { return tell(number, fetch.question, verdict) }
    switch verdict {
    case .bad(let reason): finish(number, reason)
    case .revoked: finish(number, "the certificate is revoked")
    case .unknown: finish(number, "the responder doesn't know the certificate")
    case .good(let until):
      remove(number)
      let outcome = StapleOutcome(response: body, until: until ?? Int.max)
      let freshUntil = min(outcome.until, now + StapleStore.refreshSeconds)
      if known.count >= Self.outcomeLimit { known = [:] }
      known[fetch.question] = (outcome, freshUntil)
      sink.stapled(fetch.question, outcome)
    }
  }

  /// Tells who waits what the responder says of a client's certificate.
  private func tell(_ number: Int, _ question: OCSPQuestion, _ verdict: OCSPQuestion.Verdict) {
    switch verdict {
    case .bad(let reason): return finish(number, reason)
    case .unknown: tell(question, .unknown)
    case .good(let until): tell(question, .good, until: until)
    case .revoked(let until): tell(question, .revoked, until: until)
    }
    remove(number)
  }

  /// - Parameter until: how long the verdict may be kept; nil: the next client has to be asked
  ///   about anew.
  private func tell(_ question: OCSPQuestion, _ verdict: CertificateVerdict, until: Int? = nil) {
    for request in askers.removeValue(forKey: question) ?? [] {
      if let until, let cache = request.cache {
        caches.keep(question.digest, in: cache, verdict, until: until)
      }
      sink.judged(request, verdict)
    }
  }

  private func finish(_ number: Int, _ problem: String) {
    guard let fetch = fetches[number] else { return }
    remove(number)
    conclude(fetch.question, problem)
  }

  private func conclude(_ question: OCSPQuestion, _ problem: String) {
    let responder = question.responder.authority
    sink.log(
      .error, "OCSP responder \(responder) for certificate \"\(question.name)\": \(problem)")
    if askers[question] != nil { return tell(question, .failed) }
    sink.stapled(question, StapleOutcome())
  }

  private func remove(_ number: Int) {
    guard let fetch = fetches.removeValue(forKey: number) else { return }
    numbers[fetch.question] = nil
    core.wheel.removeEntry(fetch.timer)
    if !waiting.isEmpty { begin(waiting.removeFirst()) }
  }
}

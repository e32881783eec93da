// One try at one server of an upstream: what was sent, what came back, how far it is.
//
//   none ─► connecting ─► (handshaking) ─► sending ─► awaitingHead ─► receivingBody ─► none
//               │               │             │             │               └─► tunneling
//               └───────────────┴─────────────┴─────────────┴─► failed: RetryPolicy decides
//
// The exchange drives it (Exchange+Upstream); this is its state and the parsing of the response.

import CLinux
import HTTP

/// The state of the try under way; recycled with its exchange. A class, so that its parser may fill
/// its head in place.
final class Attempt {
  enum Phase {
    case none, connecting, handshaking, sending, awaitingHead, receivingBody, tunneling
  }

  var phase = Phase.none
  var connection: UpstreamConnection?
  /// The stream of a try by HTTP/2, instead of `connection`.
  var stream: H2UpstreamStream?
  /// Tells this try from those before and after it.
  var number = 0
  /// The deadline of a try by HTTP/2, made with the first of them.
  var timer: TimerWheel.ID?
  /// When that deadline was set.
  var waitsSince: Milliseconds = 0
  /// What the stream's window had let through by then.
  var takenAtTimer = 0
  /// How much of `request` is its fields, if it is for HTTP/2.
  var fieldBlockCount = 0
  var group: UpstreamGroup?
  var peer: Peer?
  var tried = TriedSet()
  /// Tries so far, this one included.
  var tryCount = 0
  /// When the first try began.
  var startedAt: Milliseconds = 0
  /// When this try began.
  var triedAt: Milliseconds = 0
  /// Whether the connection had served a request before.
  var isReused = false
  /// Whether the end of the response binds a session to the server (`sticky learn`).
  var teachesSession = false
  /// Whether the stale-connection retry was used up.
  var didRetryStale = false
  /// How often a server said that it had not processed the request.
  var excludedCount = 0
  /// The method of the request as sent, which says how its response is framed.
  var method = Method.get
  /// The request as sent: head, and a small body behind it.
  var request: Buffer?
  /// How much of `request` was sent.
  var requestSent = 0
  /// How much of the client's buffered body stands in `request`, behind the head: all or nothing.
  var inlineBodyCount = 0
  /// How much of the buffered body was sent, or goes out with the head.
  var bodySent = 0
  /// A piece of a streamed body that waits to be sent.
  var bodyPiece: Buffer?
  /// Whether the end of a streamed body was sent.
  var didEndBody = false
  /// Whether any byte of a streamed body was read from the client: it can't be replayed.
  var consumedBody = false
  /// The first piece of a streamed body stands behind the head in `request`; whether it is the
  /// last.
  var joinedPiece: Bool?
  var sendsChunked = false
  /// Whether the request leaves out what only its client's conditions are for: a cache is to have
  /// the whole, and they are judged here.
  var withholdsConditions = false
  /// How much of the request the kernel took in this try, head and body.
  var bytesSent = 0

  // The response.
  var ending = Ending.none
  var didReceive = false
  var input: Buffer?
  var head = ResponseHead()
  /// What the fields of `head` refer to; empty until it is whole.
  var headBytes = Bytes()
  var parser = ResponseHeadParser(limits: HeadLimits.upstream)
  var framing = UpstreamFraming()
  var decoder = ChunkedDecoder()
  var remaining = 0
  var isBodyComplete = false
  var interimCount = 0
  /// The bytes behind a chunked body, while they come.
  var trailerInput: Buffer?
  /// The fields behind the body, and the bytes that they are slices of.
  var trailers: [Field] = []
  var trailerBytes = Bytes()
  /// The server asked for this response not to be buffered.
  var isUnbuffered = false
  /// `proxy_limit_rate` of this response; 0: none.
  var bytesPerSecond = 0
  /// When the body that it limits began.
  var limitedSince: Milliseconds = 0
  /// The timer runs for the rate's sake: when it fires, reading goes on.
  var isPausedByRate = false
  /// Nothing is read, and nothing waited for, until the client side has room.
  var isHeld = false
  var bytesReceived = 0
  /// Response bytes that wait in a file for a slow client.
  var spool: TemporaryFile?
  /// Up to where the client has it.
  var spoolSent = 0
  /// Where the client's part of it ends, however long the file becomes.
  var spoolEnd = Int.max
  /// The disk refused: what does not fit in memory waits at the upstream.
  var isSpoolBroken = false

  var isActive: Bool { phase != .none }
  /// Whether fields can be looked at: while a head comes, the parser has some whose bytes lie
  /// elsewhere.
  var hasHead: Bool { !headBytes.isEmpty }
  /// What of the spool the client hasn't got.
  var unsentSpoolCount: Int { min(spool?.size ?? 0, spoolEnd) - spoolSent }
  var peerName: String? { peer?.name.string }

  /// How the server ended a connection.
  enum Ending {
    case none
    /// Its stream ended: what its kernel had taken of the request by then is acknowledged.
    case end
    /// It was reset, which says nothing of that.
    case reset
  }

  /// Prepares for the first byte of a response on a fresh try.
  func resetResponse() {
    ending = .none
    didReceive = false
    teachesSession = false
    head.reset()
    headBytes = Bytes()
    parser.reset()
    decoder = ChunkedDecoder()
    remaining = 0
    isBodyComplete = false
    interimCount = 0
    if !trailers.isEmpty { trailers.removeAll(keepingCapacity: true) }
    trailerBytes = Bytes()
    isUnbuffered = false
    bytesReceived = 0
    bytesPerSecond = 0
    isPausedByRate = false
    isHeld = false
  }
}

/// How the response is framed, and whether its connection may be kept.
struct UpstreamFraming {
  var body = BodyFraming.none
  var keepAlive = false
  var isUpgrade = false
  var isInterim = false
  var namesFields = false

  init() {}

  init(_ framing: ResponseFraming) {
    body = framing.body
    keepAlive = framing.keepAlive
    isUpgrade = framing.isUpgrade
    isInterim = framing.isInterim
    namesFields = framing.namesFields
  }
}

/// Why a try failed, in the terms of `proxy_next_upstream`.
enum AttemptFailure: BitwiseCopyable {
  /// Connecting, sending or receiving failed.
  case error
  /// The server took longer than allowed.
  case timeout
  /// The response is not HTTP, or not to be trusted.
  case invalidHeader
  /// A status that `proxy_next_upstream` names.
  case status(Int)
  /// The connection had been kept and was closed before it answered a byte.
  case stale
  /// The server said that it did not process the request: it may be sent again, whatever it is.
  case unprocessed
  /// The same, of a server that had no reason to.
  case refused
  /// No server could be chosen.
  case noServer
  /// This process lacks what a try takes: a connection, a descriptor, memory.
  case noRoom

  /// What the server is to blame for: a resource that it doesn't have is no failure, and a kept
  /// connection that it closed teaches nothing.
  var outcome: PeerOutcome {
    switch self {
    case .stale, .unprocessed, .noRoom: .neutral
    case .refused: .refusal
    case .status(403), .status(404): .success
    default: .failure
    }
  }

  /// What came of a call that made or connected a socket.
  static func connecting(_ error: SystemError) -> AttemptFailure {
    error.isShortage ? .noRoom : .error
  }

  /// Whether it says something of the server, which a cache may remember.
  var isOfServer: Bool {
    if case .noRoom = self { return false }
    return true
  }

  var isUnprocessed: Bool {
    switch self {
    case .unprocessed, .refused: true
    default: false
    }
  }

  var isRefused: Bool {
    if case .refused = self { return true }
    return false
  }

  /// The status that the client gets if there is no other try.
  var statusCode: Int {
    switch self {
    case .error, .invalidHeader, .stale, .unprocessed, .refused, .noServer, .noRoom: 502
    case .timeout: 504
    case .status(let status): status
    }
  }
}

/// Whether another server may be asked (https://nginx.org/r/proxy_next_upstream).
struct RetryPolicy {
  let allowed: NextUpstream
  let maxTries: Int
  let timeout: Milliseconds

  /// Whether another try may follow one that ended with `failure`.
  ///
  /// - Parameters:
  ///   - tries: how many there were, that one included.
  ///   - elapsed: the time since the first of them began.
  ///   - isReplayable: the request can be sent again from its beginning.
  ///   - mayRepeat: it does no harm if servers carry the request out twice (RFC 9110 §9.2.2), or
  ///     the one that failed has got nothing of it.
  func allows(
    _ failure: AttemptFailure, tries: Int, elapsed: Milliseconds, isReplayable: Bool,
    mayRepeat: Bool
  ) -> Bool {
    guard isReplayable, mayRepeat else { return false }
    if maxTries > 0 && tries >= maxTries { return false }
    if timeout > 0 && elapsed >= timeout { return false }
    switch failure {
    case .error, .stale, .unprocessed, .refused, .noRoom: return allowed.contains(.error)
    case .timeout: return allowed.contains(.timeout)
    case .invalidHeader: return allowed.contains(.invalidHeader)
    case .noServer: return false
    case .status(let status):
      guard let flag = NextUpstream.flag(of: status) else { return false }
      return allowed.contains(flag)
    }
  }
}

extension NextUpstream {
  /// The flag that names a status, or nil.
  static func flag(of status: Int) -> NextUpstream? {
    switch status {
    case 500: .http500
    case 502: .http502
    case 503: .http503
    case 504: .http504
    case 403: .http403
    case 404: .http404
    case 429: .http429
    default: nil
    }
  }
}

/// What the `$upstream_…` variables tell of all tries, in order.
struct UpstreamLog {
  struct Entry {
    var peer: Peer?
    /// What logs call the upstream when no server was chosen.
    var groupName = Bytes()
    var status = 0
    var connectTime: Milliseconds = -1
    var headerTime: Milliseconds = -1
    var responseTime: Milliseconds = -1
    var responseLength = 0
    var bytesSent = 0
    var bytesReceived = 0
    /// Whether an internal redirect began a new group of tries here.
    var beginsGroup = false
  }

  /// The tries before the last one. Most requests have one try, and the array isn't touched.
  private var former: [Entry] = []
  private var last = Entry()
  private var hasLast = false
  private var nextBeginsGroup = false

  init() { former.reserveCapacity(4) }

  /// The number of tries.
  var count: Int { former.count + (hasLast ? 1 : 0) }

  subscript(index: Int) -> Entry { index < former.count ? former[index] : last }

  mutating func begin(_ peer: Peer) { begin(Entry(peer: peer)) }

  /// None of the group `name` can be tried.
  mutating func begin(groupName name: Bytes) { begin(Entry(groupName: name, status: 502)) }

  private mutating func begin(_ entry: Entry) {
    if hasLast { former.append(last) }
    let beginsGroup = nextBeginsGroup && hasLast
    last = entry
    last.beginsGroup = beginsGroup
    hasLast = true
    nextBeginsGroup = false
  }

  mutating func beginGroup() { nextBeginsGroup = true }

  /// Changes the entry of the try under way.
  @inline(__always)
  mutating func update(_ change: (inout Entry) -> Void) { if hasLast { change(&last) } }

  mutating func reset() {
    if !former.isEmpty { former.removeAll(keepingCapacity: true) }
    if hasLast { last.peer = nil }
    hasLast = false
    nextBeginsGroup = false
  }
}

extension HeadLimits {
  /// What upstreams may send: lines may end in a line feed alone.
  static let upstream: HeadLimits = {
    var limits = HeadLimits.response
    limits.allowBareLineFeed = true
    return limits
  }()
}

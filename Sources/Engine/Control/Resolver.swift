// Names to addresses, for all threads: answers are kept for as long as their TTL says, and one
// question that many ask is sent once. Runs on the control thread; who asks is told through
// `takeAnswers`, in the turn of the loop in which the answer came.

import CLinux

/// Who asked for a name.
enum ResolverAsker: Equatable {
  /// The watch of a name in a `server` line, by its number.
  case watch(Int)
  /// The same, for one of the hosts of its service.
  case watchTarget(Int, String)
  /// A worker that needs the name for a request.
  case request(ResolveRequest)
  /// A question for an OCSP responder, by its number.
  case ocsp(Int)
}

/// A name that a worker needs for a request, because a variable named it.
struct ResolveRequest: Sendable, Equatable {
  let name: String
  /// AF_INET, AF_INET6, or AF_UNSPEC for both.
  var family = AF_UNSPEC
  /// The DNS servers to ask; nil means those of the system.
  var resolver: ResolverSettings?
  /// Given back with the answer.
  let token: UInt64
  /// Which worker asks.
  let worker: Int
}

/// The resolver of the process.
final class Resolver {
  // Bound: names whose answers are kept; names may come from clients.
  private static let cacheLimit = 10_000
  // Bound: lookups under way; more for requests fail at once, while names of the configuration are
  // as many as they are.
  private static let pendingLimit = 1_000
  /// How long an answer holds at least and at most, whatever DNS says.
  static let shortestHold: Milliseconds = 1_000
  static let longestHold: Milliseconds = 300_000

  private struct Question: Hashable {
    let name: String
    let family: Int32
    let resolver: ResolverSettings?
    /// Whether SRV records are asked for.
    var isService = false
  }

  private struct Lookup {
    let question: Question
    let startedAt: Milliseconds
    var askers: [(asker: ResolverAsker, deadline: Milliseconds)]
    /// It has a channel to itself.
    var isAlone = false
  }

  private struct Channel {
    let channel: ResolverChannel
    let resolver: ResolverSettings?
    let timer: TimerWheel.ID
    /// Made before the last reload, or for one lookup: answers what it was asked, and goes.
    var isRetired = false
  }

  private let loop: ControlCore
  private var channels: [Int: Channel] = [:]
  private var nextChannel = 1
  private var lookups: [Int: Lookup] = [:]
  private var lookupNumbers: [Question: Int] = [:]
  private var nextLookup = 1
  private var cache: [Question: (result: LookupResult, until: Milliseconds)] = [:]
  private var answers: [(ResolverAsker, LookupResult)] = []
  private let sweepTimer: TimerWheel.ID

  /// The slot of the timer handle that fires `onSweep`; channels begin at 1.
  static let sweepSlot = 0

  init(_ loop: ControlCore) {
    self.loop = loop
    sweepTimer = loop.wheel.makeEntry()
  }

  /// Asks for `name`. The answer comes with `takeAnswers`, perhaps at once.
  func ask(
    _ name: String, family: Int32 = AF_UNSPEC, _ resolver: ResolverSettings?,
    for asker: ResolverAsker
  ) {
    if let literal = SocketAddress(literal: name, port: 0) {
      let result = LookupResult.addresses([literal], timeToLive: Self.longestHold)
      answers.append((asker, result))
      return
    }
    ask(
      Question(name: name.lowercased(), family: Self.family(family, resolver), resolver: resolver),
      for: asker)
  }

  /// Asks for the SRV records called `name`.
  func askService(_ name: String, _ resolver: ResolverSettings?, for asker: ResolverAsker) {
    ask(
      Question(name: name.lowercased(), family: AF_UNSPEC, resolver: resolver, isService: true),
      for: asker)
  }

  private func ask(_ question: Question, for asker: ResolverAsker) {
    if let known = cache[question], known.until > loop.now {
      answers.append((asker, known.result.holding(known.until - loop.now)))
      return
    }
    let deadline = loop.now + (question.resolver?.timeout ?? 30_000)
    if let number = lookupNumbers[question] {
      lookups[number]?.askers.append((asker, deadline))
    } else if case .request = asker, lookups.count >= Self.pendingLimit {
      answers.append((asker, .failed(.serverFailure("too many names are being resolved"))))
    } else if let (number, channel) = channel(for: question.resolver) {
      let lookup = nextLookup
      nextLookup += 1
      lookups[lookup] = Lookup(
        question: question, startedAt: loop.now, askers: [(asker, deadline)])
      lookupNumbers[question] = lookup
      start(lookup, question, on: channel)
      collect(number)
      if lookups.count == 1 { armSweep() }
    } else {
      answers.append((asker, .failed(.serverFailure("DNS can't be set up"))))
    }
  }

  private func start(_ number: Int, _ question: Question, on channel: ResolverChannel) {
    if question.isService {
      channel.lookUpServices(question.name, lookup: number)
    } else {
      channel.lookUp(question.name, family: question.family, lookup: number)
    }
  }

  /// The answers since the last call.
  func takeAnswers() -> [(ResolverAsker, LookupResult)] {
    let taken = answers
    answers.removeAll(keepingCapacity: true)
    return taken
  }

  /// After a reload: resolv.conf and hosts are read anew, kept answers go.
  func startAfresh() {
    cache = [:]
    for number in channels.keys { channels[number]?.isRetired = true }
    closeIdleChannels()
  }

  /// Ends all lookups as failed, without answers.
  func close() {
    for channel in channels.values { channel.channel.close() }
    channels = [:]
  }

  // MARK: Events

  /// A socket of channel `number` is ready.
  func onEvent(socket: Int32, channel number: Int, _ readiness: Readiness) {
    guard let channel = channels[number]?.channel else { return }
    channel.onEvent(socket, readiness)
    collect(number)
  }

  /// The timer of channel `number` fired.
  func onTimer(channel number: Int) {
    guard let channel = channels[number]?.channel else { return }
    channel.onTimeout()
    collect(number)
  }

  /// Once a second while lookups are under way: whose time is up is told so, though the lookup goes
  /// on for the sake of the next who asks.
  func onSweep() {
    for number in lookups.keys {
      guard var lookup = lookups[number] else { continue }
      for entry in lookup.askers where entry.deadline <= loop.now {
        answers.append((entry.asker, .failed(.timedOut)))
      }
      lookup.askers.removeAll { $0.deadline <= loop.now }
      lookups[number] = lookup
    }
    if !lookups.isEmpty { armSweep() }
  }

  private func armSweep() {
    let handle = Handle(.resolver, slot: Self.sweepSlot)
    loop.wheel.set(sweepTimer, at: loop.now + 250, for: handle)
  }

  /// Takes what channel `number` has finished, and sets its timer.
  private func collect(_ number: Int) {
    guard let entry = channels[number] else { return }
    var alone: [Int] = []
    for (lookup, result) in entry.channel.takeFinished() {
      if case .failed(.unreachable) = result, mayStartAlone(lookup) {
        alone.append(lookup)
      } else {
        finish(lookup, result)
      }
    }
    if let timeout = entry.channel.timeout {
      let handle = Handle(.resolver, slot: number)
      loop.wheel.set(entry.timer, at: loop.now + timeout, for: handle)
    } else {
      loop.wheel.clear(entry.timer)
    }
    if entry.isRetired { closeIdleChannels() }
    // Last: these may end at once, and with them channels, this one included.
    for lookup in alone { startAlone(lookup) }
  }

  private func finish(_ number: Int, _ result: LookupResult) {
    guard let lookup = lookups.removeValue(forKey: number) else { return }
    lookupNumbers[lookup.question] = nil
    let answer = keep(result, lookup.question)
    for (asker, _) in lookup.askers { answers.append((asker, answer)) }
  }

  // Bound: lookups with a channel to themselves at a time.
  private static let aloneLimit = 64

  /// Whether a lookup that failed is asked once more, by a channel of its own: it failed at once.
  private func mayStartAlone(_ number: Int) -> Bool {
    guard let lookup = lookups[number], !lookup.isAlone else { return false }
    return loop.now - lookup.startedAt < ResolverChannel.firstTimeout
      && channels.values.count(where: \.isRetired) < Self.aloneLimit
  }

  /// Asks by a channel of its own. The library gives all lookups of a channel up when a server
  /// refuses one connection, as for the one name whose answer needs TCP: whoever may choose names
  /// must not make those of others fail.
  private func startAlone(_ number: Int) {
    guard let question = lookups[number]?.question else { return }
    guard let (channelNumber, channel) = makeChannel(question.resolver) else {
      return finish(number, .failed(.unreachable))
    }
    lookups[number]?.isAlone = true
    channels[channelNumber]?.isRetired = true
    start(number, question, on: channel)
    collect(channelNumber)
  }

  /// Puts an answer into the cache and gives it with the time for which it holds.
  private func keep(_ result: LookupResult, _ question: Question) -> LookupResult {
    guard let timeToLive = result.timeToLive else { return result }
    let hold =
      question.resolver?.validity
      ?? min(max(timeToLive, Self.shortestHold), Self.longestHold)
    if cache.count >= Self.cacheLimit {
      cache = cache.filter { $0.value.until > loop.now }
      if cache.count >= Self.cacheLimit { cache = [:] }
    }
    cache[question] = (result, loop.now + hold)
    return result.holding(hold)
  }

  // MARK: Channels

  private func channel(for resolver: ResolverSettings?) -> (Int, ResolverChannel)? {
    for (number, entry) in channels where !entry.isRetired && entry.resolver == resolver {
      return (number, entry.channel)
    }
    return makeChannel(resolver)
  }

  private func makeChannel(_ resolver: ResolverSettings?) -> (Int, ResolverChannel)? {
    // A handle's generation has 24 bits; numbers are not used again before they come round.
    let number = nextChannel
    nextChannel = nextChannel % 0xff_fffe + 1
    guard let channel = ResolverChannel(resolver, poller: loop.poller, number: number) else {
      return nil
    }
    channels[number] = Channel(
      channel: channel, resolver: resolver, timer: loop.wheel.makeEntry())
    return (number, channel)
  }

  private func closeIdleChannels() {
    for (number, entry) in channels where entry.isRetired && entry.channel.pendingCount == 0 {
      entry.channel.close()
      loop.wheel.removeEntry(entry.timer)
      channels[number] = nil
    }
  }

  private static func family(_ asked: Int32, _ resolver: ResolverSettings?) -> Int32 {
    guard let resolver else { return asked }
    if !resolver.usesIPv6 { return AF_INET }
    return resolver.usesIPv4 ? asked : AF_INET6
  }
}

extension LookupResult {
  /// For how long it holds; nil: it failed.
  fileprivate var timeToLive: Milliseconds? {
    switch self {
    case .addresses(_, let timeToLive), .services(_, let timeToLive): timeToLive
    case .failed: nil
    }
  }

  /// The same, holding for `time`.
  fileprivate func holding(_ time: Milliseconds) -> LookupResult {
    switch self {
    case .addresses(let addresses, _): .addresses(addresses, timeToLive: time)
    case .services(let records, _): .services(records, timeToLive: time)
    case .failed: self
    }
  }
}

// The bundle: what is written is what is read, and nothing else is; and a configuration that is
// read from the disk is the same when it is replayed.

import CLinux
import Testing

@testable import Engine

@Suite struct BundleTests {
  private func sample() -> Bundle {
    var options = StartOptions(
      prefix: "/srv/portico", configurationPath: "conf/a.conf", globalDirectives: "daemon off;",
      errorLogPath: "stderr")
    options.overlay["/srv/portico/key.pem"] = [1, 2, 3]
    var bundle = Bundle(options: options, isPrivileged: false)
    bundle.files["/srv/portico/conf/a.conf"] = .content(Array("http {}".utf8))
    bundle.files["/srv/portico/conf/gone.conf"] = .failed(ENOENT)
    bundle.files["/srv/portico/empty"] = .content([])
    bundle.patterns["/srv/*.conf"] = ["/srv/a.conf", "/srv/b.conf"]
    bundle.patterns["/none/*"] = []
    bundle.environment["HOME"] = "/root"
    bundle.environment.updateValue(nil, forKey: "UNSET")
    bundle.hosts = ["localhost": ["127.0.0.1", "::1"], "gone.test": []]
    bundle.configurationFiles = ["/srv/portico/conf/a.conf"]
    return bundle
  }

  @Test func readsWhatWasWritten() throws {
    let bundle = sample()
    #expect(Bundle(decoding: bundle.encoded()) == bundle)
    let fd = try bundle.makeDescriptor()
    defer { _ = linux_close(fd) }
    #expect(Bundle(descriptor: fd) == bundle)
    #expect(Bundle(descriptor: fd) == bundle)
  }

  @Test func refusesEveryShorterAndLongerForm() {
    let bytes = sample().encoded()
    for count in 0..<bytes.count { #expect(Bundle(decoding: Array(bytes[..<count])) == nil) }
    #expect(Bundle(decoding: bytes + [0]) == nil)
  }

  @Test func survivesEveryBrokenByte() {
    let bytes = sample().encoded()
    for index in bytes.indices {
      var broken = bytes
      broken[index] ^= 0xff
      _ = Bundle(decoding: broken)
    }
  }

  @Test func recordsWhatWasReadAndReplaysIt() throws {
    let folder = "/tmp/portico-bundle-\(Process.identifier)"
    try ProcessFiles.makeFolders(folder, mode: 0o700)
    let path = folder + "/a"
    defer {
      _ = unsafe linux_unlink(path)
      _ = unsafe rmdir(folder)
    }
    try ProcessFiles.write(path, [1], mode: 0o600)
    var options = StartOptions(prefix: folder)
    options.overlay["/memory"] = [9]
    let files = RecordedFiles(options: options)
    #expect(files.content(path) == .content([1]))
    #expect(files.content(folder + "/b") == .failed(ENOENT))
    #expect(files.content("/memory") == .content([9]))
    #expect(files.matches(folder + "/*") == [path])
    #expect(files.variable("PORTICO_NO_SUCH_VARIABLE") == nil)
    // What changes on the disk afterwards changes nothing.
    try ProcessFiles.write(path, [2], mode: 0o600)
    try ProcessFiles.write(folder + "/b", [3], mode: 0o600)
    defer { _ = unsafe linux_unlink(folder + "/b") }
    #expect(files.content(path) == .content([1]))
    let replayed = ReplayedFiles(files.bundle)
    #expect(replayed.content(path) == .content([1]))
    #expect(replayed.content(folder + "/b") == .failed(ENOENT))
    #expect(replayed.content("/memory") == .content([9]))
    #expect(replayed.matches(folder + "/*") == [path])
    #expect(replayed.variable("PORTICO_NO_SUCH_VARIABLE") == nil)
    #expect(replayed.content("/etc/hostname") == .failed(ENOENT))
  }
}

@Suite struct DefaultPortTests {
  /// The worker process may be another user by the time it reads what the supervisor read.
  @Test(arguments: [(true, 80), (false, 8000)])
  func aServerWithoutListenHasThePortOfWhoOpensIt(isRoot: Bool, port: Int) throws {
    var bundle = Bundle(
      options: StartOptions(prefix: "/p", configurationPath: "a.conf"), isPrivileged: isRoot)
    for path in ["a.conf", "/p/a.conf"] {
      bundle.files[path] = .content(Array("http { server { server_name a; } }".utf8))
    }
    let plans = try ReplayedFiles(bundle).makePlans(
      PeerRegistry(), TLSTicketKeyRing(), ZoneRegistry<LimitZone>(), CacheZones(),
      ZoneRegistry<TLSSessionZone>())
    #expect(plans[0].listens.map(\.settings.address.description) == ["0.0.0.0:\(port)"])
  }
}

@Suite struct WorkerProcessMessageTests {
  @Test(arguments: [
    WorkerOrder.descriptors([
      .bundle, .listener(id: 7, BoundListener.Key(address: "[::1]:80", index: 3)),
      .log(path: "logs/access.log"), .order,
    ]),
    .forget([1, 2, 3]), .reopened, .drain(deadlineMs: nil), .drain(deadlineMs: 0), .stop,
    .apply(generation: 4, identity: nil, settings: ProcessSettings()),
    .apply(
      generation: 5, identity: Identity(user: 1, group: 2, groups: [2, 3]),
      settings: ProcessSettings(
        descriptorLimit: 4096, coreBytes: 0, priority: -5, workingFolder: "/tmp")),
  ])
  func readsTheOrderThatWasWritten(_ order: WorkerOrder) {
    let bytes = order.encoded()
    #expect(WorkerOrder(decoding: bytes) == order)
    for count in 0..<bytes.count { #expect(WorkerOrder(decoding: Array(bytes[..<count])) == nil) }
  }

  @Test(arguments: [
    WorkerAnswer.ready(generation: 1), .failed(generation: 2, problems: ["a:1:1: b", ""]),
    .lackedLogs,
  ])
  func readsTheAnswerThatWasWritten(_ answer: WorkerAnswer) {
    #expect(WorkerAnswer(decoding: answer.encoded()) == answer)
  }

  @Test func sendsMoreDescriptorsThanOneMessageTakes() throws {
    let (ours, theirs) = try WorkerProcessChannel.makePair()
    let file = try Bundle(options: StartOptions()).makeDescriptor()
    defer { _ = linux_close(file) }
    let items = (0..<600).map { index in
      (
        what: SentDescriptor.listener(
          id: UInt64(index), BoundListener.Key(address: "127.0.0.1:\(index)", index: 0)), fd: file
      )
    }
    try ours.send(items)
    var received: [SentDescriptor] = []
    while received.count < 600 {
      guard case .packet(let bytes, let descriptors) = theirs.receive(),
        case .descriptors(let list) = WorkerOrder(decoding: bytes)
      else {
        Issue.record("no packet of descriptors")
        return
      }
      #expect(list.count == descriptors.count)
      for fd in descriptors { #expect(linux_close(fd) == 0) }
      received += list
    }
    #expect(received == items.map(\.what))
  }

  @Test func cutsAReportThatIsTooLongForAPacket() throws {
    let (ours, theirs) = try WorkerProcessChannel.makePair()
    let line = String(repeating: "x", count: 1000)
    try ours.send(.failed(generation: 1, problems: Array(repeating: line, count: 1000)))
    guard case .packet(let bytes, _) = theirs.receive(),
      case .failed(1, let problems) = WorkerAnswer(decoding: bytes)
    else {
      Issue.record("no answer")
      return
    }
    #expect(problems.count >= 10 && problems.allSatisfy { $0 == line })
  }
}

@Suite struct RestartBackOffTests {
  @Test func waitsNotAtAllThenLongerUpToTenSeconds() {
    var backOff = RestartBackOff()
    let delays = (0..<12).map { _ in backOff.delay(age: 10) }
    #expect(delays == [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000])
    #expect(backOff.delay(age: 5000) == 0)
    #expect(backOff.delay(age: 10) == 0)
    #expect(backOff.delay(age: 10) == 100)
  }
}

// `stub_status` and its variables
// (https://nginx.org/en/docs/http/ngx_http_stub_status_module.html), and how an exchange is counted
// for them.

import HTTP

extension Exchange {
  /// As what an exchange is counted.
  enum Counted { case nothing, reading, writing }

  /// Counts a client's request in; its head is being read.
  func countIn() {
    core.counters.countRequest()
    core.counters.addReading(1)
    counted = .reading
    connection.exchangeCount += 1
    if connection.exchangeCount == 1 { core.counters.addBusy(1) }
  }

  /// The head was read.
  func countBegun() {
    guard counted == .reading else { return }
    core.counters.addReading(-1)
    core.counters.addWriting(1)
    counted = .writing
  }

  /// Counts the request out.
  func countOut() {
    guard counted != .nothing else { return }
    if counted == .reading { core.counters.addReading(-1) } else { core.counters.addWriting(-1) }
    counted = .nothing
    connection.exchangeCount -= 1
    if connection.exchangeCount == 0 { core.counters.addBusy(-1) }
  }

  /// Answers with the counts of the process.
  func serveStatus() {
    guard method == .get || method == .head else { return fail(405) }
    let counts = core.allCounters.sum
    let text = """
      Active connections: \(counts.open) 
      server accepts handled requests
       \(counts.accepted) \(counts.accepted) \(counts.requests) 
      Reading: \(counts.reading) Writing: \(counts.writing) Waiting: \(counts.waiting) 

      """
    response.contentType = Bytes("text/plain")
    respond(200, arena.copy(text))
  }
}

// The socketpair between supervisor and worker process, and what is said on it. One packet is one
// message (SOCK_SEQPACKET), so that descriptors arrive with the words that name them.
//
//   supervisor                                   worker process
//     descriptors (bundle, listeners, logs) …  ─►  staged
//     forget (listeners that are gone) …       ─►  staged
//     apply(generation)                        ─►  builds plans; on failure drops what was staged
//                                              ◄─  ready(generation) | failed(generation, problems)
//     renew(certificates)                      ─►  exchanged in the plans that serve
//     reopened                                 ─►  flushes; puts staged logs in place of old ones
//                                              ◄─  lackedLogs, if not all of them arrived
//     drain(deadline) | stop                   ─►  ends
//
// The end of the stream tells either side that the other one died.

import CLinux

/// What a descriptor is that goes to the worker process.
enum SentDescriptor: Equatable {
  case bundle
  case listener(id: UInt64, BoundListener.Key)
  case log(path: String)
  /// A file with an order that is too large for a packet.
  case order
}

/// What the supervisor says.
enum WorkerOrder: Equatable {
  case descriptors([SentDescriptor])
  case forget([UInt64])
  case apply(generation: Int, identity: Identity?, settings: ProcessSettings)
  case reopened
  case renew([CertificateRenewal])
  case drain(deadlineMs: Int?)
  case stop
}

/// What the worker process says.
enum WorkerAnswer: Equatable {
  case ready(generation: Int)
  case failed(generation: Int, problems: [String])
  /// Logs that were opened again didn't arrive, for want of descriptors.
  case lackedLogs
}

/// One end of the socketpair.
final class WorkerProcessChannel {
  let descriptor: Int32

  // Bound: the kernel takes at most 253 descriptors a message (SCM_MAX_FD).
  static let batchCount = 253
  // Bound: one packet; less than the socket's send buffer, which a packet has to fit into.
  static let packetBytes = 128 << 10

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { _ = linux_close(descriptor) }

  /// Both ends. A send to a peer that takes nothing for ten seconds fails.
  static func makePair() throws(SystemError) -> (WorkerProcessChannel, WorkerProcessChannel) {
    var pair: [Int32] = [-1, -1]
    _ = try check(unsafe linux_socketpair(Int32(SOCK_SEQPACKET.rawValue), &pair))
    for fd in pair { linux_send_timeout(fd, 10_000) }
    return (WorkerProcessChannel(pair[0]), WorkerProcessChannel(pair[1]))
  }

  /// What came of waiting for a packet.
  enum Received {
    case packet([UInt8], descriptors: [Int32])
    case end
  }

  /// Sends one packet.
  func send(_ bytes: [UInt8], descriptors: [Int32] = []) throws(SystemError) {
    while true {
      let result = unsafe linux_send_descriptors(
        descriptor, bytes, bytes.count, descriptors, descriptors.count)
      if result == -Int64(EINTR) { continue }
      _ = try check(result)
      return
    }
  }

  /// Takes the next packet; waits for it.
  func receive() -> Received {
    var bytes = [UInt8](repeating: 0, count: Self.packetBytes)
    var descriptors = [Int32](repeating: -1, count: Self.batchCount)
    var count = 0
    while true {
      let result = unsafe linux_receive_descriptors(
        descriptor, &bytes, bytes.count, &descriptors, &count)
      if result == -Int64(EINTR) { continue }
      if result <= 0 { return .end }
      return .packet(
        Array(bytes[..<Int(result)]), descriptors: Array(descriptors[..<count]))
    }
  }
}

extension WorkerProcessChannel {
  /// Sends descriptors with what they are, as many packets as it takes.
  func send(_ items: [(what: SentDescriptor, fd: Int32)]) throws(SystemError) {
    var start = 0
    while start < items.count {
      let batch = items[start..<min(start + Self.batchCount, items.count)]
      let order = WorkerOrder.descriptors(batch.map(\.what))
      try send(order.encoded(), descriptors: batch.map(\.fd))
      start += batch.count
    }
  }

  /// Sends an order that carries no descriptors.
  func send(_ order: WorkerOrder) throws(SystemError) {
    let bytes = order.encoded()
    if bytes.count <= Self.packetBytes { return try send(bytes) }
    let fd = try ProcessFiles.makeNameless("portico-order", bytes)
    defer { _ = linux_close(fd) }
    try send([(.order, fd)])
  }

  /// Sends an answer; a report that is too long for a packet loses its end.
  func send(_ answer: WorkerAnswer) throws(SystemError) {
    var answer = answer
    while answer.encoded().count > Self.packetBytes, case .failed(let number, let all) = answer {
      answer = .failed(generation: number, problems: Array(all.prefix(all.count / 2)))
    }
    try send(answer.encoded())
  }
}

// Variables that speak of the response, of this process and of the time.

import CLinux
import HTTP

extension Exchange {
  /// The value of a variable about the response.
  func value(of name: ResponseVariable) -> Bytes? {
    switch name {
    case .status: statusText
    case .bytes_sent: arena.decimal(stream.sentByteCount)
    case .body_bytes_sent: arena.decimal(sentBodyCount)
    case .request_time: seconds(loop.now - startedAt)
    case .request_completion: isAnswered ? Bytes("OK") : Bytes()
    case .limit_rate: arena.decimal(limitRate)
    case .gzip_ratio: gzipRatio
    }
  }

  /// Three digits: 000 until there is a status.
  private var statusText: Bytes {
    let status = errorStatus != 0 && !didSendHead ? errorStatus : response.status
    return status == 0 ? Bytes("000") : arena.decimal(status)
  }

  /// Bytes of the body that reached the kernel: everything but the head.
  private var sentBodyCount: Int {
    max(0, min(bodyByteCount, stream.sentByteCount - headByteCount))
  }

  /// The value of a variable about this process.
  func value(of name: ProcessVariable) -> Bytes? {
    switch name {
    case .hostname: core.hostName
    case .pid: arena.decimal(Int(linux_pid()))
    case .nginx_version: Bytes("1.31.5")
    case .msec: seconds(loop.wallTime)
    case .time_local: core.clock.timeLocal
    case .time_iso8601: core.clock.timeISO8601
    case .date_gmt: date(isLocal: false)
    case .date_local: date(isLocal: true)
    case .connections_active: arena.decimal(core.allCounters.sum.open)
    case .connections_reading: arena.decimal(core.allCounters.sum.reading)
    case .connections_waiting: arena.decimal(core.allCounters.sum.waiting)
    case .connections_writing: arena.decimal(core.allCounters.sum.writing)
    }
  }
}

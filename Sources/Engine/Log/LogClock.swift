// The time in the forms that lines and heads want it, written once a second and copied from then
// on.
//
// One per worker. The loop calls `update` once per turn with the clock that it read anyway; when
// the second hasn't changed that is a comparison. The bytes are good until the next update.

import CLinux
import HTTP

/// The current second, written.
final class LogClock {
  /// The second that the texts show, since 1970.
  private(set) var second = Int.min
  private let store = ByteStore()
  private let localRoom: MutableBytes
  private let iso8601Room: MutableBytes
  private let httpRoom: MutableBytes
  private let syslogRoom: MutableBytes

  /// A clock that shows `wallMs`, milliseconds since 1970.
  init(wallMs: Milliseconds) {
    localRoom = store.allocate(HTTPDate.commonLogLength)
    iso8601Room = store.allocate(HTTPDate.iso8601Length)
    httpRoom = store.allocate(HTTPDate.length)
    syslogRoom = store.allocate(HTTPDate.syslogLength)
    update(wallMs: wallMs)
  }

  /// `22/Nov/2026:12:00:00 +0000`, in the local zone.
  var timeLocal: Bytes { localRoom.readOnly }
  /// `2026-11-22T12:00:00+00:00`, in the local zone.
  var timeISO8601: Bytes { iso8601Room.readOnly }
  /// `Sun, 22 Nov 2026 12:00:00 GMT`, the value of a Date field.
  var httpDate: Bytes { httpRoom.readOnly }
  /// `Nov 22 12:00:00`, in the local zone.
  var syslogTime: Bytes { syslogRoom.readOnly }

  /// Shows `wallMs`, milliseconds since 1970.
  func update(wallMs: Milliseconds) {
    let now = wallMs / 1000
    if now == second { return }
    show(now, offsetMinutes: Int(linux_zone_offset_seconds(Int64(now))) / 60)
  }

  /// Writes all forms of `now` on a clock `offsetMinutes` ahead of UTC.
  func show(_ now: Int, offsetMinutes: Int) {
    second = now
    HTTPDate.writeCommonLog(now, offsetMinutes: offsetMinutes, into: localRoom)
    HTTPDate.writeISO8601(now, offsetMinutes: offsetMinutes, into: iso8601Room)
    HTTPDate.write(now, into: httpRoom)
    HTTPDate.writeSyslog(now, offsetMinutes: offsetMinutes, into: syslogRoom)
  }
}

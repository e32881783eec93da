// Dates as HTTP and log files write them (RFC 9110 §5.6.7).
//
// Writers fill a buffer of the caller's with a fixed number of bytes; a loop writes each form once
// a second and copies it. The parser reads the three forms that a recipient must understand.

/// HTTP's and the logs' forms of a moment.
public enum HTTPDate {
  /// `Sun, 06 Nov 1994 08:49:37 GMT`
  public static let length = 29
  /// `06/Nov/1994:08:49:37 +0000`
  public static let commonLogLength = 26
  /// `1994-11-06T08:49:37+00:00`
  public static let iso8601Length = 25
  /// `1994/11/06 08:49:37`
  public static let errorLogLength = 19

  /// Writes the preferred form (IMF-fixdate), `length` bytes.
  public static func write(_ unixSeconds: Int, into out: MutableBytes) {
    let time = CivilTime(unixSeconds)
    out.copy(weekdays.slice(time.weekday * 3, time.weekday * 3 + 3), at: 0)
    out.copy(Bytes(", "), at: 3)
    out.writeDigits(time.day, 2, at: 5)
    out[7] = 0x20
    out.copy(monthName(time), at: 8)
    out[11] = 0x20
    out.writeDigits(time.year, 4, at: 12)
    out[16] = 0x20
    out.writeClock(time, at: 17)
    out.copy(Bytes(" GMT"), at: 25)
  }

  /// Writes the form of access logs (`$time_local` without brackets), `commonLogLength` bytes.
  public static func writeCommonLog(
    _ unixSeconds: Int, offsetMinutes: Int = 0, into out: MutableBytes
  ) {
    let time = CivilTime(unixSeconds, offsetMinutes: offsetMinutes)
    out.writeDigits(time.day, 2, at: 0)
    out[2] = 0x2F
    out.copy(monthName(time), at: 3)
    out[6] = 0x2F
    out.writeDigits(time.year, 4, at: 7)
    out[11] = 0x3A
    out.writeClock(time, at: 12)
    out[20] = 0x20
    out[21] = offsetMinutes < 0 ? 0x2D : 0x2B
    let offset = abs(offsetMinutes % 6000)
    out.writeDigits(offset / 60, 2, at: 22)
    out.writeDigits(offset % 60, 2, at: 24)
  }

  /// Writes the form of ISO 8601 (`$time_iso8601`), `iso8601Length` bytes.
  public static func writeISO8601(
    _ unixSeconds: Int, offsetMinutes: Int = 0, into out: MutableBytes
  ) {
    let time = CivilTime(unixSeconds, offsetMinutes: offsetMinutes)
    out.writeDate(time, separator: 0x2D)
    out[10] = 0x54
    out.writeClock(time, at: 11)
    out[19] = offsetMinutes < 0 ? 0x2D : 0x2B
    let offset = abs(offsetMinutes % 6000)
    out.writeDigits(offset / 60, 2, at: 20)
    out[22] = 0x3A
    out.writeDigits(offset % 60, 2, at: 23)
  }

  /// Writes the form of error logs, `errorLogLength` bytes.
  public static func writeErrorLog(
    _ unixSeconds: Int, offsetMinutes: Int = 0, into out: MutableBytes
  ) {
    let time = CivilTime(unixSeconds, offsetMinutes: offsetMinutes)
    out.writeDate(time, separator: 0x2F)
    out[10] = 0x20
    out.writeClock(time, at: 11)
  }

  /// `Nov  6 08:49:37`, the time of syslog (RFC 3164 §4.1.2).
  public static let syslogLength = 15

  /// Writes the form of syslog, `syslogLength` bytes.
  public static func writeSyslog(
    _ unixSeconds: Int, offsetMinutes: Int = 0, into out: MutableBytes
  ) {
    let time = CivilTime(unixSeconds, offsetMinutes: offsetMinutes)
    out.copy(monthName(time), at: 0)
    out[3] = 0x20
    out.writeDigits(time.day, 2, at: 4)
    if time.day < 10 { out[4] = 0x20 }
    out[6] = 0x20
    out.writeClock(time, at: 7)
  }

  static var weekdays: Bytes { Bytes("SunMonTueWedThuFriSat") }
  static var months: Bytes { Bytes("JanFebMarAprMayJunJulAugSepOctNovDec") }

  private static func monthName(_ time: CivilTime) -> Bytes {
    months.slice(time.month * 3 - 3, time.month * 3)
  }
}

extension MutableBytes {
  fileprivate func writeDigits(_ value: Int, _ count: Int, at offset: Int) {
    var rest = value
    for index in 0..<count {
      self[offset + count - 1 - index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
  }

  fileprivate func writeDate(_ time: CivilTime, separator: UInt8) {
    writeDigits(time.year, 4, at: 0)
    self[4] = separator
    writeDigits(time.month, 2, at: 5)
    self[7] = separator
    writeDigits(time.day, 2, at: 8)
  }

  fileprivate func writeClock(_ time: CivilTime, at offset: Int) {
    writeDigits(time.hour, 2, at: offset)
    self[offset + 2] = 0x3A
    writeDigits(time.minute, 2, at: offset + 3)
    self[offset + 5] = 0x3A
    writeDigits(time.second, 2, at: offset + 6)
  }
}

extension HTTPDate {
  /// `1994-11-06T08:49:37Z`
  public static let timestampLength = 20

  /// Writes the form of RFC 3339 in UTC, `timestampLength` bytes.
  public static func writeTimestamp(_ unixSeconds: Int, into out: MutableBytes) {
    let time = CivilTime(unixSeconds)
    out.writeDate(time, separator: 0x2D)
    out[10] = 0x54
    out.writeClock(time, at: 11)
    out[19] = 0x5A
  }

  /// `06-Nov-1994 08:49`
  public static let listingLength = 17

  /// Writes the form of folder listings, `listingLength` bytes.
  public static func writeListing(
    _ unixSeconds: Int, offsetMinutes: Int = 0, into out: MutableBytes
  ) {
    let time = CivilTime(unixSeconds, offsetMinutes: offsetMinutes)
    out.writeDigits(time.day, 2, at: 0)
    out[2] = 0x2D
    out.copy(monthName(time), at: 3)
    out[6] = 0x2D
    out.writeDigits(time.year, 4, at: 7)
    out[11] = 0x20
    out.writeDigits(time.hour, 2, at: 12)
    out[14] = 0x3A
    out.writeDigits(time.minute, 2, at: 15)
  }
}

extension HTTPDate {
  /// The moment that a field value names, in seconds since 1970, or nil if it is none of
  /// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and
  /// `Sun Nov  6 08:49:37 1994`. The weekday isn't checked against the date.
  public static func parse(_ value: Bytes) -> Int? {
    guard let comma = value.firstIndex(of: 0x2C) else { return parseAsctime(value) }
    guard isWeekday(value.prefix(comma)), value.count > comma + 1, value[comma + 1] == 0x20 else {
      return nil
    }
    let rest = value.dropping(comma + 2)
    guard rest.hasSuffix(Bytes(" GMT")) else { return nil }
    if rest.count == 24, rest[2] == 0x20, rest[6] == 0x20, rest[11] == 0x20 {
      return moment(
        year: rest.digits(7, 4), month: month(rest.slice(3, 6)), day: rest.digits(0, 2),
        clock: rest.slice(12, 20))
    }
    if rest.count == 22, rest[2] == 0x2D, rest[6] == 0x2D, rest[9] == 0x20 {
      // Two digits are the year of the century that POSIX takes them for.
      let year = rest.digits(7, 2).map { $0 < 70 ? $0 + 2000 : $0 + 1900 }
      return moment(
        year: year, month: month(rest.slice(3, 6)), day: rest.digits(0, 2),
        clock: rest.slice(10, 18))
    }
    return nil
  }

  private static func parseAsctime(_ value: Bytes) -> Int? {
    guard value.count == 24, isWeekday(value.prefix(3)), value[3] == 0x20, value[7] == 0x20,
      value[10] == 0x20, value[19] == 0x20
    else { return nil }
    let day = value[8] == 0x20 ? value.digits(9, 1) : value.digits(8, 2)
    return moment(
      year: value.digits(20, 4), month: month(value.slice(4, 7)), day: day,
      clock: value.slice(11, 19))
  }

  /// Whether the name begins as a weekday does; long names of RFC 850 count.
  private static func isWeekday(_ name: Bytes) -> Bool {
    guard name.count >= 3, name.count <= 9 else { return false }
    for index in 0..<7 where weekdays.slice(index * 3, index * 3 + 3) == name.prefix(3) {
      return true
    }
    return false
  }

  private static func month(_ name: Bytes) -> Int? {
    for index in 0..<12 where months.slice(index * 3, index * 3 + 3) == name { return index + 1 }
    return nil
  }

  private static func moment(year: Int?, month: Int?, day: Int?, clock: Bytes) -> Int? {
    guard let year, let month, let day, clock[2] == 0x3A, clock[5] == 0x3A,
      let hour = clock.digits(0, 2), let minute = clock.digits(3, 2),
      let second = clock.digits(6, 2), hour < 24, minute < 60, second <= 60,
      let days = CivilTime.days(year: year, month: month, day: day)
    else { return nil }
    return days * 86_400 + hour * 3600 + minute * 60 + second
  }
}

extension Bytes {
  /// The number that `count` digits at `start` spell, or nil.
  fileprivate func digits(_ start: Int, _ count: Int) -> Int? {
    slice(start, start + count).decimal
  }
}

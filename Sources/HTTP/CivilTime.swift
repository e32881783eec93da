// Seconds since 1970 to year, month and day, and back: the proleptic Gregorian calendar.
//
// Days are counted in eras of 400 years that begin on 1 March, so that the leap day comes last; no
// tables, no loops. Any Int of seconds that a clock shows is fine; years are limited to 0–9999,
// which is what the written forms have room for.

/// A moment as calendars and clocks show it.
public struct CivilTime: BitwiseCopyable, Equatable, Sendable {
  public var year: Int
  /// 1–12
  public var month: Int
  /// 1–31
  public var day: Int
  public var hour: Int
  public var minute: Int
  public var second: Int
  /// 0 is Sunday.
  public var weekday: Int

  /// The moment `unixSeconds` after 1970-01-01T00:00:00Z on a clock that is `offsetMinutes` ahead
  /// of UTC. Moments before the year 0 or after 9999 are taken as the first or the last of those.
  public init(_ unixSeconds: Int, offsetMinutes: Int = 0) {
    let wanted = unixSeconds.addingReportingOverflow(offsetMinutes &* 60)
    let bounded = wanted.overflow ? unixSeconds : wanted.partialValue
    let seconds = min(max(bounded, -62_167_219_200), 253_402_300_799)
    let days = CivilTime.floorDivide(seconds, 86_400)
    let secondOfDay = seconds - days * 86_400
    hour = secondOfDay / 3600
    minute = secondOfDay / 60 % 60
    second = secondOfDay % 60
    weekday = (days + 4) - CivilTime.floorDivide(days + 4, 7) * 7

    let shifted = days + 719_468
    let era = CivilTime.floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// Days from 1970-01-01 to a date of the years 0–9999, or nil if there is no such date.
  public static func days(year: Int, month: Int, day: Int) -> Int? {
    guard year >= 0, year <= 9999, month >= 1, month <= 12, day >= 1 else { return nil }
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let isShort = month == 4 || month == 6 || month == 9 || month == 11
    guard day <= (month == 2 ? (isLeap ? 29 : 28) : isShort ? 30 : 31) else { return nil }
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = floorDivide(shiftedYear, 400)
    let yearOfEra = shiftedYear - era * 400
    let shiftedMonth = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * shiftedMonth + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func floorDivide(_ dividend: Int, _ divisor: Int) -> Int {
    dividend >= 0 ? dividend / divisor : (dividend + 1) / divisor - 1
  }
}

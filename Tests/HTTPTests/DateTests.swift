// Dates, written and read.

import HTTP
import Testing

@Suite struct DateTests {
  private func written29(_ seconds: Int) -> String {
    written(HTTPDate.length) {
      HTTPDate.write(seconds, into: $0)
      return HTTPDate.length
    }
  }

  @Test(arguments: [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
    (-1, "Wed, 31 Dec 1969 23:59:59 GMT"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
    (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"), (Int.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
    (Int.min, "Sat, 01 Jan 0000 00:00:00 GMT"),
  ])
  func writesTheFixedForm(_ seconds: Int, _ text: String) {
    #expect(written29(seconds) == text)
  }

  @Test func readsWhatItWrites() {
    var seconds = -62_167_219_200
    while seconds < 253_402_300_799 {
      let text = written29(seconds)
      if text.withBytes({ HTTPDate.parse($0) }) != seconds { Issue.record("\(text)") }
      seconds += 86_400 * 97 + 12_347
    }
  }

  @Test(arguments: [
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
    "Sun Nov 06 08:49:37 1994", "Mon, 06 Nov 1994 08:49:37 GMT",
  ])
  func readsTheThreeForms(_ text: String) {
    #expect(text.withBytes { HTTPDate.parse($0) } == 784_111_777)
  }

  @Test func twoDigitYearsAreOfTheCenturyOfPOSIX() {
    #expect(HTTPDate.parse(Bytes("Sunday, 01-Jan-70 00:00:00 GMT")) == 0)
    #expect(HTTPDate.parse(Bytes("Monday, 01-Jan-69 00:00:00 GMT")) == 3_124_224_000)
  }

  @Test(arguments: [
    "", ",", "Sun,", "Sun, ", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 08:49:37", "0", "yesterday",
    "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
    "Wed, 29 Feb 2023 00:00:00 GMT", "Mon, 29 Feb 2100 00:00:00 GMT",
    "Sun, 06 nov 1994 08:49:37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT",
    "Xyz, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08-49-37 GMT", "Sun Nov 6 08:49:37 1994",
    "Sun, 06 Nov 1994 08:49:37 GMTx", "Sunday,, 06-Nov-94 08:49:37 GMT",
  ])
  func refuses(_ text: String) {
    #expect(text.withBytes { HTTPDate.parse($0) } == nil)
  }

  @Test(arguments: [
    (0, "06/Nov/1994:08:49:37 +0000", "1994-11-06T08:49:37+00:00", "1994/11/06 08:49:37"),
    (330, "06/Nov/1994:14:19:37 +0530", "1994-11-06T14:19:37+05:30", "1994/11/06 14:19:37"),
    (-570, "05/Nov/1994:23:19:37 -0930", "1994-11-05T23:19:37-09:30", "1994/11/05 23:19:37"),
  ])
  func writesTheFormsOfLogs(_ offset: Int, _ common: String, _ iso: String, _ error: String) {
    let seconds = 784_111_777
    let commonLog = written(HTTPDate.commonLogLength) {
      HTTPDate.writeCommonLog(seconds, offsetMinutes: offset, into: $0)
      return HTTPDate.commonLogLength
    }
    let iso8601 = written(HTTPDate.iso8601Length) {
      HTTPDate.writeISO8601(seconds, offsetMinutes: offset, into: $0)
      return HTTPDate.iso8601Length
    }
    let errorLog = written(HTTPDate.errorLogLength) {
      HTTPDate.writeErrorLog(seconds, offsetMinutes: offset, into: $0)
      return HTTPDate.errorLogLength
    }
    #expect([commonLog, iso8601, errorLog] == [common, iso, error])
  }
}

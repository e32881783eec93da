// `expires`: constants, times that are computed from what clients send, and times of day.

import Foundation
import Testing

@Suite struct ExpiresTests {
  private static let config = """
    worker_processes 1;
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
        location /computed { expires $arg_e; return 200 x; }
        location /modified/ { expires modified $arg_e; alias %%DIR%%/www/; }
        location /constant { expires 9223372036854775807; return 200 x; }
        location /past { expires -9223372036854775807; return 200 x; }
        location /cookie {
          userid on; userid_expires 9223372036854775807; return 200 x;
        }
        location /slow/ {
          proxy_read_timeout 9223372036854775807ms; proxy_pass http://%%UPSTREAM_0%%;
        }
        location /daily { expires %%DAILY%%; return 200 x; }
      }
    }
    """

  private func start(
    daily: String = "@1h", environment: [String: String] = [:]
  ) async throws -> RunningPortico {
    try await Portico.start(
      config: Self.config.replacing("%%DAILY%%", with: daily), files: ["www/a.txt": "a"],
      upstreams: [try TestUpstream { _ in .answer() }], environment: environment)
  }

  @Test(arguments: [
    ("/computed?e=60", "max-age=60"), ("/computed?e=-60", "no-cache"), ("/computed?e=", nil),
    ("/computed?e=9223372036854775807", "max-age=315360000000"),
    ("/computed?e=-9223372036854775807", "no-cache"),
    ("/computed?e=106751991167300d", "max-age=315360000000"),
    ("/computed?e=-106751991167300d", "no-cache"),
    ("/computed?e=99999999999999999999", nil), ("/computed?e=@9223372036854775807", nil),
    ("/modified/a.txt?e=-9223372036854775807", "no-cache"), ("/constant", "max-age=315360000000"),
    ("/past", "no-cache"),
  ])
  func noTimeIsTooLong(path: String, expected: String?) async throws {
    let door = try await start()
    let answer = try door.get(path)
    #expect(answer.status == 200 && answer["cache-control"] == expected)
    if path.contains("-9223372036854775807") {
      #expect(answer["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT")
    }
    try door.stop()
  }

  @Test func whatIsModifiedLaterThanClocksShowIsServed() async throws {
    let door = try await start()
    let answer = try door.get("/modified/a.txt?e=9223372036854775807")
    #expect(answer["expires"] == "Fri, 31 Dec 9999 23:59:59 GMT")
    #expect(answer["cache-control"]?.hasPrefix("max-age=3153") == true)
    try door.stop()
  }

  @Test func otherTimesMayBeAsLong() async throws {
    let door = try await start()
    #expect(try door.get("/cookie")["set-cookie"]?.contains("31-Dec-9999") == true)
    #expect(try door.get("/slow/").status == 200)
    try door.stop()
  }

  @Test func timesOfDayAreThoseOfTheServersClock() async throws {
    // Nine hours ahead of UTC.
    let door = try await start(daily: "@15h30m", environment: ["TZ": "TST-9"])
    let answer = try door.get("/daily")
    #expect(answer["expires"]?.hasSuffix(" 06:30:00 GMT") == true, "\(answer["expires"] ?? "")")
    let age = try #require(answer["cache-control"]?.split(separator: "=").last.flatMap { Int($0) })
    #expect((1...86_400).contains(age))
    try door.stop()
  }

  @Test func aTimeOfDayBehindAChangeOfClocksIsThatOfTheNewClock() async throws {
    // The clock is UTC's, and an hour ahead from six hours on.
    let now = Int(Date().timeIntervalSince1970) / 60 * 60
    let change = now + 6 * 3600
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(secondsFromGMT: 0))
    let changeDate = Date(timeIntervalSince1970: Double(change))
    let day = try #require(calendar.ordinality(of: .day, in: .year, for: changeDate)) - 1
    let clock = "\(change % 86_400 / 3600):\(change % 3600 / 60)"
    let zone = "AAA0BBB-1,\(day)/\(clock),\((day + 100) % 365)"
    let wanted = now + 12 * 3600
    let door = try await start(
      daily: "@\(wanted % 86_400 / 3600)h\(wanted % 3600 / 60)m", environment: ["TZ": zone])
    let expires = try #require(try door.get("/daily")["expires"])
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = calendar.timeZone
    format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    let expected = Date(timeIntervalSince1970: Double(wanted - 3600))
    #expect(expires == format.string(from: expected), "\(zone)")
    try door.stop()
  }
}

// Logs: the form of lines, escaping, lost lines, reopening, and the clock.

import CLinux
import HTTP
import Testing

@testable import Engine

struct ErrorLogTests {
  @Test func writesTheFormOfNginx() throws {
    let folder = try TemporaryFolder()
    let fd = try openLog(folder.path + "/error.log")
    ErrorLog([.init(fd: fd, level: .info)]).write(.error, "it broke", connection: 52)
    let line = folder.text(of: "error.log")
    let form = try Regex(
      pattern:
        "^\\d{4}/\\d\\d/\\d\\d \\d\\d:\\d\\d:\\d\\d \\[error\\] \\d+#\\d+: \\*52 it broke\\n\\z",
      caseless: false)
    let matches = line.withBytes { form.matches($0) }
    #expect(matches, "\(line)")
  }

  @Test func givesEachFileTheLevelsThatItTakes() throws {
    let folder = try TemporaryFolder()
    let log = ErrorLog([
      .init(fd: try openLog(folder.path + "/all"), level: .debug),
      .init(fd: try openLog(folder.path + "/bad"), level: .crit),
    ])
    for level in LogLevel.allCases { log.write(level, "line") }
    #expect(folder.lines(of: "all").count == 8)
    #expect(folder.lines(of: "bad").count == 3)
  }

  @Test func makesNoMessageThatNobodyTakes() throws {
    let log = ErrorLog([.init(fd: 2, level: .error)])
    var made = 0
    func message() -> String {
      made += 1
      return ""
    }
    log.write(.warn, message())
    ErrorLog([]).write(.emerg, message())
    #expect(made == 0)
    #expect(log.takes(.error) && !log.takes(.warn) && !ErrorLog([]).takes(.emerg))
  }

  @Test func escapesControlCharactersAndCutsLongLines() throws {
    let folder = try TemporaryFolder()
    let fd = try openLog(folder.path + "/log")
    let log = ErrorLog([.init(fd: fd, level: .info)])
    log.write(.error, "a\nb\u{1b}[31m\u{7f}é")
    log.write(.error, String(repeating: "x", count: 10_000))
    let lines = folder.lines(of: "log")
    #expect(lines.count == 2)
    #expect(lines[0].hasSuffix("a\\x0Ab\\x1B[31m\\x7Fé"))
    #expect(lines[1].utf8.count == 2047)
  }

  @Test func saysHowManyLinesWereLost() throws {
    let folder = try TemporaryFolder()
    let fd = Int32(try check(linux_open("/dev/full", O_WRONLY, 0)))
    let log = ErrorLog([.init(fd: fd, level: .info)])
    for _ in 0..<3 { log.write(.error, "lost") }
    let good = try openLog(folder.path + "/log")
    _ = linux_duplicate_onto(good, fd)
    log.write(.error, "kept")
    log.write(.error, "kept too")
    let lines = folder.lines(of: "log")
    #expect(lines.count == 3)
    #expect(lines[0].hasSuffix(": kept"))
    #expect(lines[1].contains("[alert]") && lines[1].hasSuffix(": 3 log lines were lost"))
    #expect(lines[2].hasSuffix(": kept too"))
    _ = linux_close(fd)
  }

  @Test(arguments: LogLevel.allCases)
  func namesEachLevel(level: LogLevel) {
    #expect(LogLevel(name: level.name) == level)
    #expect(LogLevel(name: "off") == nil)
  }
}

struct LogFilesTests {
  @Test func adoptsADescriptorUnderTheNumberOfItsPath() throws {
    let (folder, files) = (try TemporaryFolder(), LogFiles())
    let (fd, other) = (try openLog(folder.path + "/a"), try openLog(folder.path + "/b"))
    try files.adopt(fd, as: "log")
    try files.adopt(other, as: "log")
    #expect(files.numbers == ["log": fd])
    _ = LogOutput.write(Bytes("x"), to: fd)
    #expect(folder.text(of: "b") == "x")
    #expect(folder.holds(fd))
    #expect(!folder.holds(other))
    _ = linux_close(fd)
  }

  /// The file of a path that is given up is closed; its number goes to the next new path, so that
  /// a thousand reloads with another log each take one.
  @Test func givesNumbersToTheNextPaths() throws {
    let (folder, files) = (try TemporaryFolder(), LogFiles())
    let fd = try openLog(folder.path + "/log")
    try files.adopt(fd, as: "first")
    files.giveUp(except: ["first"])
    #expect(files.numbers == ["first": fd] && folder.holds(fd))
    files.giveUp(except: [])
    #expect(files.numbers.isEmpty && !folder.holds(fd))
    #expect(LogOutput.write(Bytes("late\n"), to: fd) == 5)
    #expect(folder.text(of: "log") == "")
    for name in ["second", "third"] {
      try files.adopt(try openLog(folder.path + "/" + name), as: name)
      #expect(files.numbers == [name: fd])
      _ = LogOutput.write(Bytes("in time\n"), to: fd)
      #expect(folder.text(of: name) == "in time\n")
      files.giveUp(except: [])
    }
    _ = linux_close(fd)
  }
}

struct LogUsesTests {
  @Test func aLogIsUsedAsLongAsAPlanThatNamesItIs() {
    var uses = LogUses()
    final class Anything {}
    let plans = (0..<3).map { _ in Anything() }
    uses.begin(ObjectIdentifier(plans[0]), ["old"], thread: 0)
    uses.begin(ObjectIdentifier(plans[1]), ["old"], thread: 1)
    uses.begin(ObjectIdentifier(plans[2]), ["new"], thread: 0)
    #expect(uses.all == ["old", "new"])
    uses.end(ObjectIdentifier(plans[0]), thread: 0)
    #expect(uses.all == ["old", "new"])
    uses.end(thread: 1)
    #expect(uses.all == ["new"])
  }
}

/// A file to append to, which is the caller's to close.
private func openLog(_ path: String) throws -> Int32 {
  Int32(try check(linux_open(path, O_WRONLY | O_APPEND | O_CREAT, 0o644)))
}

struct AccessLogBufferTests {
  @Test func writesEachLineAtOnceWithoutABuffer() throws {
    let folder = try TemporaryFolder()
    let log = try makeLog(folder, bufferBytes: 0)
    log.append(Bytes("one\n"), now: 0)
    #expect(folder.text(of: "log") == "one\n")
  }

  @Test func writesWhenFullWhenDueAndWhenAsked() throws {
    let folder = try TemporaryFolder()
    let log = try makeLog(folder, bufferBytes: 10)
    log.append(Bytes("12345\n"), now: 100)
    #expect(folder.text(of: "log") == "")
    #expect(log.flushDeadline == 1_100)
    log.append(Bytes("abcde\n"), now: 200)
    #expect(folder.text(of: "log") == "12345\n")
    log.append(Bytes("z\n"), now: 300)
    log.flushIfDue(now: 1_199)
    #expect(folder.text(of: "log") == "12345\n")
    log.flushIfDue(now: 1_200)
    #expect(folder.text(of: "log") == "12345\nabcde\nz\n")
    #expect(log.flushDeadline == nil)
    log.append(Bytes("q\n"), now: 1_300)
    log.append(Bytes("longer than the buffer\n"), now: 1_300)
    #expect(folder.text(of: "log") == "12345\nabcde\nz\nq\nlonger than the buffer\n")
    log.append(Bytes("end\n"), now: 1_400)
    log.flush(now: 1_400)
    #expect(folder.lines(of: "log").last == "end")
  }

  @Test func countsLostLinesAndReportsThemOnceAMinute() throws {
    let folder = try TemporaryFolder()
    let full = Int32(try check(linux_open("/dev/full", O_WRONLY, 0)))
    let errors = ErrorLog([
      .init(fd: try openLog(folder.path + "/errors"), level: .error)
    ])
    let log = AccessLogBuffer(
      fd: full, path: "/logs/a", bufferBytes: 0, flushInterval: nil, errors: errors)
    for second in 0..<90 { log.append(Bytes("line\n"), now: second * 1_000) }
    #expect(log.lostLineCount == 90)
    let lines = folder.lines(of: "errors")
    #expect(lines.count == 2)
    #expect(lines[0].hasSuffix("1 lines of \"/logs/a\" were lost, it can't be written"))
    #expect(lines[1].hasSuffix("60 lines of \"/logs/a\" were lost, it can't be written"))
    _ = linux_close(full)
  }

  @Test func saysThatAKeptFileTookNoLine() throws {
    let cache = LogFileCache(LogFileCacheSettings(max: 2, minUses: 2))
    for (path, takesLines) in [(Bytes("/dev/full\0"), false), (Bytes("/dev/null\0"), true)] {
      // Opened for one line, opened to stay, open.
      for turn in 0..<3 {
        let result = cache.write(Bytes("a\n"), to: path.prefix(path.count - 1), now: turn)
        let isWritten = try result.get()
        #expect(isWritten == takesLines)
      }
    }
  }

  private func makeLog(_ folder: TemporaryFolder, bufferBytes: Int) throws -> AccessLogBuffer {
    AccessLogBuffer(
      fd: try openLog(folder.path + "/log"), path: "log", bufferBytes: bufferBytes,
      flushInterval: 1_000, errors: ErrorLog([]))
  }
}

struct LogEscapeTests {
  @Test(arguments: [
    ("plain /?&", "plain /?&", "plain /?&"), ("a\"b\\c", "a\\x22b\\x5Cc", "a\\\"b\\\\c"),
    ("\n\r\t\u{8}\u{c}", "\\x0A\\x0D\\x09\\x08\\x0C", "\\n\\r\\t\\b\\f"),
    ("\0\u{1f}\u{7f}", "\\x00\\x1F\\x7F", "\\u0000\\u001F\u{7f}"), ("é", "\\xC3\\xA9", "é"),
    ("", "", ""),
  ])
  func escapesAsNginxDoes(text: String, asDefault: String, asJSON: String) {
    #expect(escape(text, .default) == asDefault)
    #expect(escape(text, .json) == asJSON)
    #expect(escape(text, .none) == text)
  }

  @Test func needsNoMoreThanTheWorstCase() {
    let text = String(repeating: "\u{1}", count: 100)
    #expect(escape(text, .default).utf8.count == LogEscape.default.worstCaseCount(of: 100))
    #expect(escape(text, .json).utf8.count == LogEscape.json.worstCaseCount(of: 100))
    #expect(escape(text, .none).utf8.count == LogEscape.none.worstCaseCount(of: 100))
  }

  private func escape(_ text: String, _ escape: LogEscape) -> String {
    text.withBytes { bytes in
      let store = ByteStore()
      let output = store.allocate(escape.worstCaseCount(of: bytes.count))
      let count = LogEscape.write(bytes, escape, into: output)
      return withExtendedLifetime(store) { output.readOnly.prefix(count).string }
    }
  }
}

struct LogClockTests {
  @Test func writesEachForm() {
    let clock = LogClock(wallMs: 0)
    clock.show(1_795_348_800, offsetMinutes: 330)
    #expect(clock.timeLocal.string == "22/Nov/2026:17:30:00 +0530")
    #expect(clock.timeISO8601.string == "2026-11-22T17:30:00+05:30")
    #expect(clock.httpDate.string == "Sun, 22 Nov 2026 12:00:00 GMT")
  }

  @Test func changesWithTheSecondAlsoBackwards() {
    let clock = LogClock(wallMs: 5_999)
    #expect(clock.httpDate.string == "Thu, 01 Jan 1970 00:00:05 GMT")
    clock.update(wallMs: 6_000)
    #expect(clock.httpDate.string == "Thu, 01 Jan 1970 00:00:06 GMT")
    clock.update(wallMs: 1_500)
    #expect(clock.httpDate.string == "Thu, 01 Jan 1970 00:00:01 GMT")
  }
}

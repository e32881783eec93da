// Stored passwords of every kind, password files, and what is remembered of checks.

import Foundation
import Testing

@testable import Engine
@testable import HTTP

private func matches(_ password: String, _ stored: String) -> Bool {
  password.withBytes { password in stored.withBytes { PasswordHash.matches(password, $0) } }
}

@Suite struct PasswordTests {
  // Made by openssl passwd, htpasswd and perl's crypt.
  static let hashes = [
    "{PLAIN}opensesame", "{SHA}F2GPAaOiG5EcklvLUlodIavTBnM=",
    "$apr1$saltsalt$7cqxt8VIjABxqw00CdZLl.",
    "$1$saltsalt$DoPDqEvtl7sTRDfUfLChZ1",
    "$5$saltsalt$jbxAgW5X5LNk4yh.NmUXL1XLS9OoRHueeuIinWYHZ9D",
    "$6$saltsalt$/dpv42BvGInVKxDULxBMfXE6CN.oHtXdmTeHWMcv5rsd81TjdKcroane5LphAqgVenp/4K1qV/7eYEdl4XS9O/",
    "$y$j9T$saltsaltsalt$E9r/sgAb168HFCWnH.F8Xzi./A3.CFavP6Tjlilfna3",
  ]

  @Test(arguments: hashes)
  func knowsARightPasswordFromWrongOnes(stored: String) {
    #expect(matches("opensesame", stored))
    for wrong in ["", "opensesam", "opensesamf", "Opensesame", "opensesame\0"] {
      #expect(!matches(wrong, stored), "\(wrong)")
    }
    #expect(!matches("opensesame", String(stored.dropLast(2))))
  }

  @Test func knowsOtherLengthsAndSalts() {
    #expect(matches("", "$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ."))
    #expect(matches(String(repeating: "x", count: 40), "$apr1$12345678$lmvIejSHXo9SZNHoskkNr0"))
    #expect(matches("myPassword", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"))
    #expect(
      matches("myPassword", "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"))
    // The oldest kind of crypt takes eight characters.
    #expect(matches("opensesame", "abnSn8x7blSdk") && !matches("open", "abnSn8x7blSdk"))
    #expect(matches("password", "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0"))
    #expect(!matches("passwore", "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0"))
  }

  @Test(arguments: [
    "", "{SHA}", "{SHA}Zm9vCg==", "{SHA}_____Mm5Pz8GgiULbPgzG37mj9g=", "{SSHA}", "{SSHA}Zm9vCg==",
    "{SSHA}_____wQadOA1e+/f+T+H3eCQQhRzYWx0", "$apr1$", "$apr1$$", "$apr1$salt$", "$1$", "*", "!",
    "x", "*0", "*1",
    "$2y$99$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
    "{SSHA}" + String(repeating: "A", count: 4_000),
  ])
  func aBrokenHashFitsNoPassword(stored: String) {
    for password in ["", "1", "password", "*0", "*1"] { #expect(!matches(password, stored)) }
  }

  /// OpenSSL makes no MD5 where FIPS rules: no digest is none that fits an empty one.
  @Test func aDigestThatCouldNotBeMadeFitsNothing() {
    #expect(!PasswordHash.isSame([], Bytes()))
    #expect("a".withBytes { PasswordHash.isSame([0x61], $0) && !PasswordHash.isSame([], $0) })
  }

  @Test func aFileHasTheFirstLineOfEachUser() {
    let file = PasswordFile(
      Array("# c:x\nb:two:comment\r\na:one\r\n\nb:three\n:nobody\nempty:\nnoline\nlast:end".utf8))
    func stored(_ user: String) -> String? {
      user.withBytes { file.stored(for: $0) }.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(stored("a") == "one" && stored("b") == "two" && stored("last") == "end")
    #expect(stored("") == "nobody" && stored("empty") == "")
    for user in ["c", "# c", "noline", "A", "aa", "comment"] { #expect(stored(user) == nil) }
  }

  @Test func aFileIsReadAgainWhenItChanged() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/htpasswd"
    var files = PasswordFiles()
    func stored() throws -> String? {
      let now = Clock.wall
      let file = try files.open(Array(path.utf8) + [0], wallTime: now).get()
      return "a".withBytes { file.stored(for: $0) }.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(throws: PasswordFileFailure.system(SystemError(code: ENOENT))) { try stored() }
    // Of the same length, and changed within one tick of the file system's clock.
    for round in 0..<50 {
      try "a:\(round % 10)\n".write(toFile: path, atomically: false, encoding: .utf8)
      #expect(try stored() == "\(round % 10)")
    }
    try FileManager.default.removeItem(atPath: path)
    #expect(throws: PasswordFileFailure.system(SystemError(code: ENOENT))) { try stored() }
  }

  @Test func onlyWhatWasRightIsRemembered() throws {
    var checks = PasswordChecks()
    func digest(_ user: String, _ password: String, _ stored: String) throws -> CredentialDigest {
      try #require(
        user.withBytes { user in
          password.withBytes { checks.digest(user, $0, Array(stored.utf8)[...]) }
        })
    }
    func job(_ digest: CredentialDigest) -> PasswordJob {
      PasswordJob(password: [], stored: [], digest: digest, worker: 0)
    }
    let right = try digest("a", "b", "h")
    // No part of the one can be taken for a part of the other.
    let others = try [
      digest("ab", "", "h"), digest("", "ab", "h"), digest("a", "bh", ""), digest("a", "b", "i"),
    ]
    #expect(Set(others + [right]).count == 5)
    #expect(!checks.isVerified(right))
    let one = Handle(.exchange, slot: 1, generation: 1)
    let two = Handle(.exchange, slot: 2, generation: 1)
    #expect(checks.wait(one, at: nil, for: job(right)) == .asks)
    #expect(checks.wait(two, at: nil, for: job(right)) == .waits)
    #expect(checks.conclude(right, isRight: true).exchanges == [one, two])
    #expect(checks.isVerified(right) && !others.contains { checks.isVerified($0) })
    #expect(checks.wait(one, at: nil, for: job(others[0])) == .asks)
    #expect(checks.conclude(others[0], isRight: false).exchanges == [one])
    #expect(!checks.isVerified(others[0]))
    // Another worker's digests are others.
    var elsewhere = PasswordChecks()
    swap(&checks, &elsewhere)
    #expect(try digest("a", "b", "h") != right)
    // Bound: how many are remembered.
    for number in 0..<5_000 {
      _ = checks.conclude(try digest("\(number)", "", ""), isRight: true)
    }
    let kept = try (0..<5_000).filter { checks.isVerified(try digest("\($0)", "", "")) }
    #expect(kept.count <= 1_024 && kept.contains(4_999))
  }
}

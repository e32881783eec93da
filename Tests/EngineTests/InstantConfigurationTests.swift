// The configurations that `portico serve` and `portico proxy` write.

import Foundation
import Testing

@testable import Engine

@Suite struct InstantConfigurationTests {
  /// The text that a door with these ports reads.
  private func text(_ ports: InstantConfiguration.Ports) throws -> String {
    let options = try InstantConfiguration.proxying(to: ["127.0.0.1:3000"], ports)
    try? FileManager.default.removeItem(atPath: options.prefix)
    return String(decoding: try #require(options.overlay[options.configurationPath]), as: UTF8.self)
  }

  @Test func aPairThatIsOnNoDiskIsNotLookedAtThere() throws {
    let text = try text(.init(http: 0, https: 8443, address: "::1"))
    #expect(text.contains("listen [::1]:8443 ssl;"))
    #expect(text.contains("ssl_certificate_watch off;"))
  }

  @Test(arguments: [
    ("3000", "127.0.0.1:3000"), (":3000", "127.0.0.1:3000"), ("app", "app"), ("app:1", "app:1"),
    ("http://app:3000/", "app:3000"), ("http://[::1]:3000", "[::1]:3000"),
    ("unix:/run/app.sock", "unix:/run/app.sock"), ("[::1]:80", "[::1]:80"),
  ])
  func readsServersAsPeopleWriteThem(_ word: String, _ server: String) throws {
    #expect(try InstantConfiguration.server(word) == server)
  }

  @Test(arguments: ["", ":", "http://", "a:b", "a:0", "99999", "http://a/b", "a;b", "$a", "a b"])
  func refusesWhatIsNoServer(_ word: String) {
    #expect(throws: InstantConfiguration.Invalid.self) { try InstantConfiguration.server(word) }
  }

  @Test func mediaTypesAreThoseOfTheFile() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "conf/mime.types")
    func entries(_ text: String) -> Set<[String]> {
      Set(
        text.split(separator: "\n").filter { $0.hasSuffix(";") }.flatMap { line in
          let words = line.dropLast().split(separator: " ").map(String.init)
          return words.dropFirst().map { [words[0], $0] }
        })
    }
    let ours = entries(InstantConfiguration.mediaTypes)
    #expect(ours.count > 40)
    #expect(ours.subtracting(entries(try String(contentsOf: file, encoding: .utf8))) == [])
  }
}

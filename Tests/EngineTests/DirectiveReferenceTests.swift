// The reference of directives in docs/ is what the rows say.

import Foundation
import Testing

@testable import Engine

struct DirectiveReferenceTests {
  @Test func isWhatTheRowsSay() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "docs/directives.md")
    let written = try String(contentsOf: file, encoding: .utf8)
    let lines = written.split(separator: "\n", omittingEmptySubsequences: false)
    let expected = FrontDoor.directiveReference()
    for line in expected.split(separator: "\n", omittingEmptySubsequences: false)
    where !lines.contains(line) {
      Issue.record("run `portico directives > docs/directives.md`: it lacks \(line)")
    }
    let isSame = Array(written.utf8) == Array(expected.utf8)
    #expect(isSame, "run `portico directives > docs/directives.md`")
  }
}

// Words with variables, and the nearest names: what is found, and what is left alone.
//
// The first table follows nginx's script compiler, case by case.

import Testing

@testable import Configuration

@Suite struct TemplateTests {
  @Test(
    arguments: [
      ("", []),
      ("plain", [.literal("plain")]),
      ("$host", [.variable("host")]),
      ("a$host.b", [.literal("a"), .variable("host"), .literal(".b")]),
      ("${host}x", [.variable("host"), .literal("x")]),
      ("$a$b", [.variable("a"), .variable("b")]),
      ("/x/$1$2", [.literal("/x/"), .capture(1), .capture(2)]),
      ("$10", [.capture(1), .literal("0")]),
      ("${1}0", [.capture(1), .literal("0")]),
      ("$0", [.variable("0")]),
      ("größe$x", [.literal("größe"), .variable("x")]),
    ] as [(String, [TemplatePart])])
  func splits(_ text: String, _ expected: [TemplatePart]) throws {
    #expect(try splitTemplate(text) == expected)
  }

  @Test(arguments: ["$", "a$", "${", "${}", "${a", "$-", "$$a", "${a-b}", "a$ b"])
  func refuses(_ text: String) {
    #expect {
      try splitTemplate(text)
    } throws: {
      ($0 as? ValueError)?.message.hasPrefix("invalid variable name: ") == true
    }
  }

  @Test func takesTheEnvironmentLiterally() throws {
    let files = MemoryFiles(
      ["m": "x a$b${env:V}$c;"], environment: ["V": "p$a${x}"])
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(path: "m", files: files, diagnostics: &diagnostics)
    #expect(
      try splitTemplate(tree.directives[0].arguments[0])
        == [.literal("a"), .variable("b"), .literal("p$a${x}"), .variable("c")])
  }
}

@Suite struct SuggestionTests {
  let names = ["proxy_pass", "proxy_pass_header", "listen", "gzip", "root", "try_files"]

  @Test(arguments: [
    ("proxy_pas", "proxy_pass"), ("porxy_pass", "proxy_pass"), ("lsiten", "listen"),
    ("gzpi", "gzip"), ("Listen", "listen"), ("tryfiles", "try_files"), ("roots", "root"),
  ])
  func findsTheNearest(_ wrong: String, _ right: String) {
    #expect(nearestName(to: wrong, among: names) == right)
  }

  @Test(arguments: ["", "x", "foo", "gunzip_x", "location"])
  func staysSilentWhenNothingIsNear(_ wrong: String) {
    #expect(nearestName(to: wrong, among: names) == nil)
    #expect(suggestion(for: wrong, among: names) == "")
  }

  @Test func asksBack() {
    #expect(suggestion(for: "proxy_pas", among: names) == #"; did you mean "proxy_pass"?"#)
  }
}

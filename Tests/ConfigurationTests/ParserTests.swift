// What goldens don't show: positions, `-g`, dumps, limits, hints, and that no input traps.

import TestSupport
import Testing

@testable import Configuration

@Suite struct ParserTests {
  private func parse(_ text: String) -> (tree: ConfigurationTree, diagnostics: Diagnostics) {
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(bytes: Array(text.utf8), path: "m", diagnostics: &diagnostics)
    return (tree, diagnostics)
  }

  @Test func knowsWhereWordsStand() {
    let (tree, _) = parse("user a;\nhttp {\n\té \"two words\";\n}\n")
    let inner = tree.directives[1].block?[0]
    let argument = inner!.arguments[0]
    #expect(tree.sources.location(argument.position) == ("m", 3, 4))
    #expect(argument.length == 11)
    #expect(argument.isQuoted)
    #expect(tree.sources.lineText(argument.position) == "\té \"two words\";")
    #expect(tree.sources.location(inner!.end) == ("m", 3, 15))
    #expect(tree.sources.location(tree.directives[1].end) == ("m", 4, 1))
  }

  @Test func keepsThePlaceInAnIncludedFile() {
    var diagnostics = Diagnostics()
    let files = MemoryFiles(["conf/m": "include sub/*.x;", "conf/sub/a.x": "\nuser a;"])
    let tree = parseConfiguration(path: "conf/m", files: files, diagnostics: &diagnostics)
    #expect(!diagnostics.hasErrors)
    #expect(tree.sources.location(tree.directives[0].name.position) == ("conf/sub/a.x", 2, 1))
  }

  @Test func readsGlobalDirectivesFirst() {
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(
      path: "m", globalDirectives: ["daemon off; user a;", "http { }", "pid x"],
      files: MemoryFiles(["m": "user b;"]), diagnostics: &diagnostics)
    #expect(canonical(tree) == "daemon off;\nuser a;\npid x;\nuser b;\n")
    #expect(
      diagnostics.compactLines(tree.sources) == [
        #"command line:1:1: a block can't stand in a "-g" option"#,
        #"command line:1:5: "pid" is not ended by ";" before the end of the file"#,
      ])
  }

  @Test func reportsAMissingMainFile() {
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(path: "no", files: MemoryFiles(), diagnostics: &diagnostics)
    #expect(
      diagnostics.render(tree.sources)
        == "error: cannot read \"no\": no such file or directory\n")
  }

  @Test func stopsExponentialIncludes() {
    var files = MemoryFiles(["m": "include f0;", "f30": "x 1;"])
    for level in 0..<30 {
      files.files["f\(level)"] = Array("include f\(level + 1); include f\(level + 1);".utf8)
    }
    var diagnostics = Diagnostics()
    _ = parseConfiguration(path: "m", files: files, diagnostics: &diagnostics)
    #expect(diagnostics.hasErrors)
  }

  @Test func stopsDeepIncludes() {
    var files = MemoryFiles()
    for level in 0..<50 { files.files["f\(level)"] = Array("include f\(level + 1);".utf8) }
    var diagnostics = Diagnostics()
    _ = parseConfiguration(path: "f0", files: files, diagnostics: &diagnostics)
    #expect(diagnostics.all.map(\.message) == ["files include each other deeper than 32"])
  }

  @Test func keepsABoundedNumberOfDiagnostics() {
    let (tree, diagnostics) = parse(String(repeating: ";", count: 5000))
    #expect(diagnostics.all.count == Diagnostics.limit)
    #expect(diagnostics.render(tree.sources).hasSuffix("and 4000 more\n"))
  }

  @Test func hintsAtAMissingSemicolon() {
    let known = ["listen", "server_name", "root"]
    let (tree, _) = parse("server_name a\n  b\n  root /srv;\nlisten 80 root;\nx a\n \"root\" b;\n")
    let notes = tree.directives.map {
      $0.missingSemicolonNote(tree.sources) { known.contains($0) }
    }
    #expect(
      notes[0]?.message
        == #""root" begins a line; is a ";" missing at the end of the previous line?"#)
    #expect(notes[0]?.position.map { tree.sources.location($0).line } == 2)
    #expect(notes[1] == nil)
    #expect(notes[2] == nil)
  }

  @Test func saysTheSameOnceAndSortsByPlace() {
    let (tree, _) = parse("a;\nb;\n")
    var diagnostics = Diagnostics()
    diagnostics.warn("later", at: tree.directives[1].name)
    diagnostics.error("first", at: tree.directives[0].name)
    diagnostics.error("first", at: tree.directives[0].name)
    #expect(diagnostics.compactLines(tree.sources) == ["m:1:1: first", "m:2:1: warning: later"])
  }

  @Test func makesWordsPrintable() {
    #expect(quoted("a\n\u{1B}[0m\u{202E}") == #""a\n?[0m?""#)
    #expect(quoted(String(repeating: "x", count: 500)).count == 103)
  }
}

/// Random mutations of a configuration that uses all of the grammar.
@Suite struct MutationTests {
  private static let seed = Array(
    #"""
    http { server { listen 80; location ~ "^/\d{3}$" { return 200 "a\n$x${y}" ; } } # c
      set $a ${env:X:-b\}c}; include f; 'q' ("x") \; env_file e; } é
    """#.utf8)

  @Test func noInputTraps() {
    var random = Dice(seed: 42)
    let alphabet = Array("{};\"'\\$#\n ax)${env:}\u{FF}".utf8) + [0, 0xC3, 0xFF]
    for _ in 0..<4000 {
      var bytes = MutationTests.seed
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] = alphabet.randomElement(using: &random)!
        case 1: bytes.insert(alphabet.randomElement(using: &random)!, at: index)
        case 2 where bytes.count > 1: bytes.remove(at: index)
        default: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
        }
        if bytes.isEmpty { bytes = [0x20] }
      }
      check(bytes)
    }
  }

  private func check(_ bytes: [UInt8]) {
    var files = MemoryFiles(["f": "x 1;", "e": "A=b"])
    files.files["m"] = bytes
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(path: "m", files: files, diagnostics: &diagnostics)
    _ = diagnostics.render(tree.sources)
    var pending = tree.directives
    while let directive = pending.popLast() {
      pending += directive.block ?? []
      for word in directive.arguments { _ = try? splitTemplate(word) }
    }
    guard !diagnostics.hasErrors else { return }
    let text = canonical(tree)
    var again = Diagnostics()
    let second = parseConfiguration(bytes: Array(text.utf8), diagnostics: &again)
    #expect(!again.hasErrors, "\(String(decoding: bytes, as: UTF8.self))")
    #expect(canonical(second) == text, "\(String(decoding: bytes, as: UTF8.self))")
  }
}

// Goldens: each `Goldens/NAME.conf` is read as a main file, and the result must be `NAME.expected`:
// the canonical form, or the diagnostics as they are shown if there are any. Files below
// `Goldens/parts` are there to be included. With UPDATE_GOLDENS=1 in the environment the
// expectations are written anew; read their difference before you commit it.

import Foundation
import Testing

@testable import Configuration

private let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  .appendingPathComponent("Goldens")

private let environment = [
  "APP_HOST": "10.0.0.3", "EMPTY": "", "SNEAKY": "a; b { \"$host\" ${env:APP_HOST}",
]

/// Everything in the folder, by path relative to it.
private func goldenFiles() throws -> MemoryFiles {
  var files = MemoryFiles(environment: environment)
  for part in ["", "parts/"] {
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path + "/" + part) {
      guard let data = FileManager.default.contents(atPath: folder.path + "/" + part + name) else {
        continue
      }
      files.files[part + name] = Array(data)
    }
  }
  return files
}

private func goldenNames() -> [String] {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
  return names.filter { $0.hasSuffix(".conf") }.sorted()
}

private func outcome(_ name: String, _ files: MemoryFiles) -> String {
  var diagnostics = Diagnostics()
  let tree = parseConfiguration(path: name, files: files, diagnostics: &diagnostics)
  return diagnostics.all.isEmpty ? canonical(tree) : diagnostics.render(tree.sources)
}

@Suite struct GoldenTests {
  @Test func hasGoldens() {
    #expect(goldenNames().count >= 20)
  }

  @Test(arguments: goldenNames())
  func readsAsExpected(_ name: String) throws {
    let files = try goldenFiles()
    let expectedName = name.replacingOccurrences(of: ".conf", with: ".expected")
    let result = outcome(name, files)
    if ProcessInfo.processInfo.environment["UPDATE_GOLDENS"] != nil {
      try Data(result.utf8).write(to: folder.appendingPathComponent(expectedName))
      return
    }
    let expected = try #require(files.files[expectedName])
    #expect(result == String(decoding: expected, as: UTF8.self))
  }

  @Test(arguments: goldenNames())
  func canonicalFormReadsAsItself(_ name: String) throws {
    var diagnostics = Diagnostics()
    let tree = parseConfiguration(path: name, files: try goldenFiles(), diagnostics: &diagnostics)
    // What the environment gave can hold `${env:` as plain text, which has no other spelling.
    guard !diagnostics.hasErrors, name != "environment.conf" else { return }
    let text = canonical(tree)
    let again = parseConfiguration(bytes: Array(text.utf8), diagnostics: &diagnostics)
    #expect(!diagnostics.hasErrors)
    #expect(canonical(again) == text)
  }
}

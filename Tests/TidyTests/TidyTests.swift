// Rules of the house that a machine can check: sizes, header comments, ranks of folders, banned
// words, documentation that follows the code.

import Foundation
import Testing

/// The project's folder and its source files.
enum Project {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  /// Paths of Swift files below a folder, relative to the project.
  static func swiftFiles(_ folder: String) -> [String] {
    let base = root.appending(path: folder)
    guard let files = FileManager.default.enumerator(atPath: base.path) else { return [] }
    return files.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }
      .map { folder + "/" + $0 }.sorted()
  }

  /// What `swift format` prints with `arguments`, in the project's folder; nil: it can't be run.
  static func swiftFormat(_ arguments: [String]) -> String? {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["swift", "format"] + arguments
    process.currentDirectoryURL = root
    process.standardOutput = output
    process.standardError = output
    guard (try? process.run()) != nil else { return nil }
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Whether `swift format` is there, in the version whose findings are none: others differ in what
  /// they ask for.
  static let hasSwiftFormat = swiftFormat(["--version"])?.hasPrefix("6.3") == true
}

struct TidyTests {
  @Test(arguments: Project.swiftFiles("Sources") + Project.swiftFiles("Tests"))
  func aFileOpensWithAComment(path: String) throws {
    #expect(try Project.text(path).hasPrefix("//"), "\(path) has no header comment")
  }

  @Test(arguments: Project.swiftFiles("Sources"))
  func aFileStaysUnder500Lines(path: String) throws {
    let count = try Project.text(path).split(separator: "\n", omittingEmptySubsequences: false)
      .count
    #expect(count <= 500, "\(path) has \(count) lines: two nouns?")
  }

  @Test(arguments: Project.swiftFiles("Sources"))
  func aLineHas100ColumnsAtMost(path: String) throws {
    let lines = try Project.text(path).split(separator: "\n", omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() where line.count > 100 {
      Issue.record("\(path):\(index + 1) has \(line.count) columns")
    }
  }

  @Test(.enabled(if: Project.hasSwiftFormat, "swift format 6.3 is not here"))
  func swiftFormatFindsNothing() {
    let findings = Project.swiftFormat(["lint", "--parallel", "-r", "Sources", "Tests"])
    #expect(findings == "")
  }

  @Test(arguments: Project.swiftFiles("Sources"))
  func noSourceHasBannedWords(path: String) throws {
    let text = try Project.text(path)
    for word in ["TODO", "FIXME", "try!", "fatalError(", "Thread.sleep", "usleep("] {
      #expect(!text.contains(word), "\(path) has \(word)")
    }
  }

  @Test(arguments: ["Sources/HTTP", "Sources/Configuration", "Sources/Engine"])
  func noModuleButTheCommandLineImportsFoundation(folder: String) throws {
    for path in Project.swiftFiles(folder) {
      #expect(!(try Project.text(path)).contains("import Foundation"), "\(path)")
    }
  }

  @Test func httpAndConfigurationImportNothing() throws {
    for path in Project.swiftFiles("Sources/HTTP") + Project.swiftFiles("Sources/Configuration") {
      let imports = try Project.text(path).split(separator: "\n").filter { $0.hasPrefix("import ") }
      #expect(imports.isEmpty, "\(path)")
    }
  }

  /// Folders of Engine by rank; Upstream and Plan know each other.
  private static let ranks = [
    "System": 0, "Loop": 1, "Log": 2, "TLS": 3, "Limits": 3, "Cache": 3, "Upstream": 4, "Plan": 4,
    "Exchange": 5,
    "Client": 6, "Control": 7,
  ]

  @Test func aFileNamesOnlyTypesOfItsOwnRankOrALowerOne() throws {
    let declaration =
      /\n(?:@[a-z]+ ?\n?)*(?:public |final |indirect )*(?:class|struct|enum|protocol) (\w+)/
    var rankOfType: [String: (rank: Int, folder: String)] = [:]
    let files = Project.swiftFiles("Sources/Engine")
    for path in files {
      let folder = String(path.split(separator: "/")[2])
      let rank = try #require(Self.ranks[folder], "\(path) is in a folder without a rank")
      for match in try Project.text(path).matches(of: declaration) {
        rankOfType[String(match.1)] = (rank, folder)
      }
    }
    for path in files {
      let rank = try #require(Self.ranks[String(path.split(separator: "/")[2])])
      let code = try Project.text(path).split(separator: "\n")
        .filter { !$0.drop(while: { $0 == " " }).hasPrefix("//") }.joined(separator: "\n")
        .replacing(/"[^"\n]*"/, with: "")
      for word in Set(code.split(whereSeparator: { !$0.isLetter && !$0.isNumber }).map(String.init))
      {
        guard let type = rankOfType[word], type.rank > rank else { continue }
        Issue.record("\(path) names \(word), which is of \(type.folder)")
      }
    }
  }

  @Test func everyDirectiveIsInTheReference() throws {
    let reference = try Project.text("docs/directives.md")
    let row =
      /(?:Row|flag|time|size|number|choice|text|template|noEffect)\(\s*"([a-z0-9_]+)"/
    var count = 0
    for path in Project.swiftFiles("Sources/Engine/Plan") where path.hasSuffix("+Directives.swift")
    {
      for match in try Project.text(path).matches(of: row) {
        count += 1
        #expect(
          reference.contains("| `\(match.1)` |"), "\(match.1) is missing: run portico directives")
      }
    }
    #expect(count > 100)
  }

  /// An exchange serves one request after another: what one leaves behind is found by the next.
  @Test func everyPropertyOfAnExchangeIsResetOrSaidToStay() throws {
    let resets = try Project.text("Sources/Engine/Exchange/Exchange+Resetting.swift")
    let words = Set(resets.split { !$0.isLetter && !$0.isNumber })
    let type = try Project.text("Sources/Engine/Exchange/Exchange.swift")
    let stored = type.matches(of: /\n  (?:private(?:\(set\))? )?var (\w+)[^\n{]*(?=\n)/)
    #expect(stored.count > 70)
    for match in stored {
      let isNamed = words.contains(match.1)
      #expect(isNamed, "Exchange.reset() says nothing of \(match.1)")
    }
  }

  @Test func everySymbolInArchitectureExists() throws {
    let page = try Project.text("ARCHITECTURE.md")
    var code = try Project.swiftFiles("Sources").map { try Project.text($0) }
    code += [try Project.text("Package.swift"), "Harness Fuzz Benchmarks"]
    let words = Set(code.joined(separator: " ").split { !$0.isLetter && !$0.isNumber })
    for match in page.matches(of: /`([A-Z][A-Za-z0-9]+)(?:\.([a-zA-Z]+))?`/) {
      for name in [match.1, match.2].compactMap({ $0 }) {
        #expect(words.contains(name), "\(match.0) does not exist")
      }
    }
  }
}

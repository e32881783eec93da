// module: Configuration
// Fuzzes configurations, with files to include and an environment: whatever is written, reading ends,
// diagnostics can be shown, and what has none is the same tree again in its canonical form.

private let files = MemoryFiles(
  ["parts/a": "a 1;", "parts/b": "include parts/a; b { ${env:A} }", "loop": "include loop;", "env": "A=1\n"],
  environment: ["A": "a; b { \"$host\" ${env:A}", "EMPTY": ""])

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
  var all = files
  all.files["main"] = bytes
  var diagnostics = Diagnostics()
  let tree = parseConfiguration(path: "main", files: all, diagnostics: &diagnostics)
  guard diagnostics.all.isEmpty else {
    _ = diagnostics.render(tree.sources)
    return 0
  }
  visit(tree.directives)
  let text = canonical(tree)
  // What came of the environment is the one thing that can't be written.
  guard !text.contains("${env:") else { return 0 }
  var again = Diagnostics()
  let copy = parseConfiguration(bytes: Array(text.utf8), diagnostics: &again)
  precondition(again.all.isEmpty && canonical(copy) == text)
  return 0
}

/// What rows do with every word.
private func visit(_ directives: [Directive]) {
  for directive in directives {
    for word in directive.arguments {
      _ = try? splitTemplate(word)
      _ = try? Value.size(word.text, of: "x")
      _ = try? Value.milliseconds(word.text, of: "x")
    }
    visit(directive.block ?? [])
  }
}

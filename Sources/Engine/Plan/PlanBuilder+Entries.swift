// Blocks whose lines are no directives: `map`, `split_clients`. A mistake in one of many lines is
// said at that line, and the others are read all the same.

import Configuration

extension PlanBuilder {
  /// Has `read` take each line of the block of `directive`; its refusals point into that line.
  func readLines(of directive: Directive, _ read: (Directive) throws(Refusal) -> Void) {
    let outer = currentWord
    defer { currentWord = outer }
    for line in directive.block ?? [] {
      currentWord = line.arguments.first ?? line.name
      do throws(Refusal) {
        try read(line)
      } catch {
        let word = error.argument.map { line.arguments[min($0, line.arguments.count - 1)] }
        diagnostics.error(error.message, at: word ?? line.name, notes: missingSemicolon(line))
      }
    }
  }

  /// That a line which has taken in the next one lacks its `;`: any word may begin a line here.
  private func missingSemicolon(_ line: Directive) -> [Diagnostic.Note] {
    guard line.arguments.count > 1 else { return [] }
    return line.missingSemicolonNote(sources) { _ in true }.map { [$0] } ?? []
  }
}

// Recognises the most common mistake: a line whose `;` was forgotten, so that the directive of the
// next line became an argument. Only Engine knows that a directive has too many arguments, or a
// block that it can't have; it asks here whether that is why.

extension Directive {
  /// A note about the argument that is most likely the next directive; nil when none looks like it.
  ///
  /// An argument is taken for a directive when it isn't quoted, is the first word of its line, and
  /// is a known name. Where several are, the first.
  public func missingSemicolonNote(
    _ sources: SourceMap, isDirective: (String) -> Bool
  ) -> Diagnostic.Note? {
    var previous = name
    for argument in arguments {
      if !argument.isQuoted, isDirective(argument.text),
        startsLaterLine(argument, than: previous, sources)
      {
        return Diagnostic.Note(
          "\(quoted(argument.text)) begins a line; is a \";\" missing at the end of the previous "
            + "line?",
          position: Position(
            file: previous.position.file,
            offset: previous.position.offset + UInt32(max(previous.length - 1, 0))))
      }
      previous = argument
    }
    return nil
  }

  private func startsLaterLine(_ word: Word, than previous: Word, _ sources: SourceMap) -> Bool {
    guard word.position.file == previous.position.file,
      let (file, offset) = sources.resolve(word.position)
    else { return false }
    let previousEnd = Int(previous.position.offset) + previous.length
    return file.lineIndex(at: offset) > file.lineIndex(at: previousEnd)
  }
}

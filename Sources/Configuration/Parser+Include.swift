// The two directives that belong to the language: `include` and `env_file`.
//
// `include` stands wherever a directive may and is replaced by what it names: a file, or the sorted
// files that match a pattern, relative to the folder of the main file. A file is read and parsed
// once, however often it is included. `env_file` stands in the main context of the main file; it is
// looked for before anything is parsed, so that its values are there for every word.

extension Parser {
  /// Whether the parser carries a directive out itself.
  func isLanguageDirective(_ name: Word) -> Bool {
    switch name.text.utf8.count {
    case 7: name.text == "include"
    case 8: name.text == "env_file"
    default: false
    }
  }

  /// Carries out `include` or `env_file`.
  mutating func carryOut(_ directive: Directive, into directives: inout [Directive]) {
    guard directive.arguments.count == 1, let path = directive.arguments.first else {
      let what = directive.name.text == "include" ? "the path of a file, or a pattern" : "a path"
      diagnostics.error(
        "\(quoted(directive.name.text)) takes one argument, \(what), not "
          + "\(directive.arguments.count)",
        at: directive.name)
      return
    }
    if directive.name.text == "include" {
      include(path, into: &directives)
    } else if blockDepth > 0 || openFiles.count > 1 {
      diagnostics.error(
        "\"env_file\" must stand in the main file, outside of all blocks", at: directive.name)
    } else if let reason = unreadableEnvironmentFiles[resolve(path.text)] {
      diagnostics.error("cannot read \(quoted(resolve(path.text))): \(reason)", at: path)
    }
  }

  /// A path relative to the folder of the main file.
  func resolve(_ path: String) -> String {
    guard !path.utf8.starts(with: "/".utf8),
      let slash = mainPath.utf8.lastIndex(of: UInt8(ascii: "/"))
    else { return path }
    return String(mainPath[...slash]) + path
  }

  private mutating func include(_ word: Word, into directives: inout [Directive]) {
    guard !word.text.isEmpty else {
      diagnostics.error("\"include\" needs the path of a file, or a pattern", at: word)
      return
    }
    let path = resolve(word.text)
    guard path.utf8.contains(where: { "*?[".utf8.contains($0) }) else {
      includeFile(path, word, into: &directives)
      return
    }
    do {
      for match in try files.glob(path) { includeFile(match, word, into: &directives) }
    } catch {
      diagnostics.error("cannot list \(quoted(path)): \(error.reason)", at: word)
    }
  }

  private mutating func includeFile(
    _ path: String, _ word: Word, into directives: inout [Directive]
  ) {
    if let known = includedFiles[path] {
      splice(known, word, into: &directives)
      return
    }
    if openFiles.contains(path) {
      let chain = (openFiles.drop { $0 != path } + [path]).map { quoted($0) }
      diagnostics.error(
        "this includes itself: " + chain.joined(separator: " includes "), at: word)
      return
    }
    guard openFiles.count <= ParserLimits.includeDepth else {
      diagnostics.error(
        "files include each other deeper than \(ParserLimits.includeDepth)", at: word)
      return
    }
    let file: SourceFile
    do {
      file = SourceFile(path: path, bytes: try readBytes(path))
    } catch {
      diagnostics.error("cannot read \(quoted(path)): \(error.reason)", at: word)
      return
    }
    let countBefore = directiveCount
    openFiles.append(path)
    let parsed = parse(file)
    openFiles.removeLast()
    directives += parsed
    includedFiles[path] = IncludedFile(
      directives: parsed, directiveCount: directiveCount - countBefore)
  }

  /// Puts a file in place that was read before.
  private mutating func splice(
    _ file: IncludedFile, _ word: Word, into directives: inout [Directive]
  ) {
    guard directiveCount + file.directiveCount <= ParserLimits.directiveCount else {
      diagnostics.error(
        "with this, the configuration has more than \(ParserLimits.directiveCount) directives",
        at: word)
      return
    }
    directiveCount += file.directiveCount
    directives += file.directives
  }
}

/// The pass before parsing.
extension Parser {
  /// Reads the files that `env_file` directives outside of blocks name. Mistakes in the grammar are
  /// left to the parser.
  mutating func readEnvironmentFiles(of file: SourceFile) {
    guard contains(file.bytes, Array("env_file".utf8)) else { return }
    var lexer = Lexer(file.bytes)
    var words: [Token] = []
    var depth = 0
    while true {
      let token = lexer.next()
      switch token.kind {
      case .word:
        words.append(token)
        continue
      case .semicolon:
        if depth == 0 { readEnvironmentFile(words, lexer) }
      case .open: depth += 1
      case .close: depth = max(depth - 1, 0)
      case .end: return
      }
      words.removeAll(keepingCapacity: true)
    }
  }

  private mutating func readEnvironmentFile(_ words: [Token], _ lexer: Lexer) {
    guard words.count == 2 else { return }
    let isNamed = lexer.bytes[words[0].contentStart..<words[0].contentEnd]
      .elementsEqual("env_file".utf8)
    guard isNamed else { return }
    // The parser reads this word again and reports what is wrong with it there, so that this
    // reading keeps its complaints to itself.
    var quiet = Parser(mainPath: mainPath, files: files)
    quiet.environmentFileValues = environmentFileValues
    let argument = quiet.word(words[1], lexer)
    guard !quiet.diagnostics.hasErrors else { return }
    let path = resolve(argument.text)
    do {
      let source = SourceFile(path: path, bytes: try readBytes(path), kind: .environment)
      let index = sources.add(source)
      let parsed = parseEnvironmentFile(source, index: index, diagnostics: &diagnostics)
      environmentFileValues.merge(parsed) { _, later in later }
    } catch {
      unreadableEnvironmentFiles[path] = error.reason
    }
  }
}

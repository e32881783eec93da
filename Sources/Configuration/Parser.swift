// The grammar: a configuration is directives, a directive is words and then `;` or a block.
//
// `parseConfiguration` is called by whoever loads a configuration (the supervisor, `-t`, the worker
// from its bundle) and by tests. It never throws and never stops at the first error: after one it
// goes on at the next `;` or the matching brace, so that a run shows all that is wrong. The tree it
// gives after errors is what could be understood, good enough for checking the rest.

/// Reads a configuration: the `-g` options, then the main file with its includes.
///
/// What is wrong is added to `diagnostics`; the tree may be used for more than checking only if
/// that has no errors.
public func parseConfiguration(
  path: String, globalDirectives: [String] = [], files: some FileProvider,
  diagnostics: inout Diagnostics
) -> ConfigurationTree {
  var parser = Parser(mainPath: path, files: files)
  swap(&parser.diagnostics, &diagnostics)
  let tree = parser.parse(globalDirectives)
  swap(&parser.diagnostics, &diagnostics)
  return tree
}

/// Reads a configuration of one file held in memory, without includes and environment.
public func parseConfiguration(
  bytes: [UInt8], path: String = "memory", diagnostics: inout Diagnostics
) -> ConfigurationTree {
  var files = MemoryFiles()
  files.files[path] = bytes
  return parseConfiguration(path: path, files: files, diagnostics: &diagnostics)
}

/// Limits of the grammar.
enum ParserLimits {
  // Bound: parsing, checking and freeing a tree are recursive; real configurations nest 6 deep.
  static let blockDepth = 64
  // Bound: files that include files; deeper is a mistake.
  static let includeDepth = 32
  // Bound: a file that includes another many times, which does the same, grows exponentially.
  static let directiveCount = 4_000_000
  // Bound: offsets are 32 bits wide, and nobody writes such a file.
  static let fileBytes = 256 << 20
}

struct Parser<Files: FileProvider> {
  let mainPath: String
  let files: Files
  var diagnostics = Diagnostics()
  var sources = SourceMap()
  /// What `env_file` files set; the process environment goes first.
  var environmentFileValues: [String: String] = [:]
  /// Why an `env_file` could not be read, by its path.
  var unreadableEnvironmentFiles: [String: String] = [:]
  /// The files being read, outermost first.
  var openFiles: [String] = []
  /// The results of files that were included before.
  var includedFiles: [String: IncludedFile] = [:]
  /// The file that the current lexer reads.
  var fileIndex: Int32 = 0
  var blockDepth = 0
  var directiveCount = 0
  /// The first block that was closed by a brace further left than the line it was opened in.
  private var suspect: Diagnostic.Note?
  /// The arguments of the directive being read; its storage is used again for each.
  private var arguments: [Word] = []

  init(mainPath: String, files: Files) {
    self.mainPath = mainPath
    self.files = files
  }

  /// What an included file gave.
  struct IncludedFile {
    var directives: [Directive]
    var directiveCount: Int
  }

  /// An open block: the directive and the place of its brace.
  private struct OpenBlock {
    var name: Word
    var brace: Int
  }

  /// Reads everything.
  mutating func parse(_ globalDirectives: [String]) -> ConfigurationTree {
    var directives: [Directive] = []
    let options = globalDirectives.map {
      SourceFile(path: "command line", bytes: Array($0.utf8), kind: .commandLine)
    }
    let main = readSource(mainPath)
    for option in options { readEnvironmentFiles(of: option) }
    if let main { readEnvironmentFiles(of: main) }
    for option in options { directives += parse(option) }
    if let main {
      openFiles.append(mainPath)
      directives += parse(main)
      openFiles.removeLast()
    }
    return ConfigurationTree(directives: directives, sources: sources)
  }

  private mutating func readSource(_ path: String) -> SourceFile? {
    do {
      return SourceFile(path: path, bytes: try readBytes(path))
    } catch {
      diagnostics.error("cannot read \(quoted(path)): \(error.reason)", at: nil)
      return nil
    }
  }

  func readBytes(_ path: String) throws(FileError) -> [UInt8] {
    let bytes = try files.read(path)
    guard bytes.count <= ParserLimits.fileBytes else {
      throw FileError(reason: "it is larger than 256 MiB")
    }
    return bytes
  }

  /// Registers a file and reads the directives in it. The file counts as a whole: its braces are
  /// balanced in itself.
  mutating func parse(_ file: SourceFile) -> [Directive] {
    let outerFile = fileIndex
    let outerSuspect = suspect
    fileIndex = sources.add(file)
    suspect = nil
    var lexer = Lexer(file.bytes)
    let directives = parseDirectives(&lexer, in: nil).directives
    fileIndex = outerFile
    suspect = outerSuspect
    return directives
  }

  /// A place in the file being read.
  func position(_ offset: Int) -> Position {
    Position(file: fileIndex, offset: UInt32(offset))
  }

  /// The next token, with the lexer's complaints reported.
  private mutating func next(_ lexer: inout Lexer) -> Token {
    let token = lexer.next()
    if !lexer.problems.isEmpty {
      for problem in lexer.problems {
        diagnostics.error(problem.message, at: position(problem.offset), length: problem.length)
      }
      lexer.problems.removeAll()
    }
    return token
  }

  /// Reads directives up to the end of the block or, outside of blocks, of the file.
  private mutating func parseDirectives(
    _ lexer: inout Lexer, in block: OpenBlock?
  ) -> (directives: [Directive], end: Int) {
    var directives: [Directive] = []
    while true {
      let token = next(&lexer)
      switch token.kind {
      case .word:
        parseDirective(token, &lexer, into: &directives)
      case .semicolon:
        diagnostics.error("there is no directive before this \";\"", at: position(token.start))
      case .open:
        diagnostics.error("there is no directive before this \"{\"", at: position(token.start))
        skipBlock(&lexer)
      case .close:
        if let block {
          noteIndentation(of: block, closedAt: token.start, lexer.bytes)
          return (directives, token.start)
        }
        diagnostics.error("this \"}\" closes no block", at: position(token.start))
      case .end:
        if let block { reportUnclosed(block) }
        return (directives, token.start)
      }
    }
  }
}

/// One directive.
extension Parser {
  private mutating func parseDirective(
    _ first: Token, _ lexer: inout Lexer, into directives: inout [Directive]
  ) {
    let name = word(first, lexer)
    arguments.removeAll(keepingCapacity: true)
    while true {
      let token = next(&lexer)
      switch token.kind {
      case .word:
        arguments.append(word(token, lexer))
        continue
      case .open:
        parseBlock(name, token, &lexer, into: &directives)
        return
      case .semicolon:
        break
      case .close, .end:
        reportUnterminated(name, before: token)
        lexer.cursor = token.start
      }
      finish(name, end: token.start, into: &directives)
      return
    }
  }

  /// Ends a directive without a block.
  private mutating func finish(_ name: Word, end: Int, into directives: inout [Directive]) {
    let directive = Directive(name: name, arguments: Array(arguments), end: position(end))
    if isLanguageDirective(name) {
      carryOut(directive, into: &directives)
    } else {
      append(directive, to: &directives)
    }
  }

  /// Appends a directive, within the limit.
  private mutating func append(_ directive: Directive, to directives: inout [Directive]) {
    directiveCount += 1
    if directiveCount <= ParserLimits.directiveCount {
      directives.append(directive)
    } else if directiveCount == ParserLimits.directiveCount + 1 {
      diagnostics.error(
        "the configuration has more than \(ParserLimits.directiveCount) directives",
        at: directive.name)
    }
  }

  private mutating func parseBlock(
    _ name: Word, _ brace: Token, _ lexer: inout Lexer, into directives: inout [Directive]
  ) {
    let ownArguments = Array(arguments)
    if sources.files[Int(fileIndex)].kind == .commandLine {
      diagnostics.error("a block can't stand in a \"-g\" option", at: name)
      skipBlock(&lexer)
      return
    }
    if isLanguageDirective(name) {
      diagnostics.error("\(quoted(name.text)) takes no block; end it with \";\"", at: name)
      skipBlock(&lexer)
      return
    }
    if name.text.hasSuffix("_by_lua_block") {
      // Another language stands in it, which is no reason to complain of this one's rules.
      skipBlock(&lexer)
      append(
        Directive(
          name: name, arguments: ownArguments, block: [], end: position(lexer.cursor - 1)),
        to: &directives)
      return
    }
    guard blockDepth < ParserLimits.blockDepth else {
      diagnostics.error("blocks are nested deeper than \(ParserLimits.blockDepth)", at: name)
      skipBlock(&lexer)
      return
    }
    blockDepth += 1
    let (block, end) = parseDirectives(&lexer, in: OpenBlock(name: name, brace: brace.start))
    blockDepth -= 1
    append(
      Directive(name: name, arguments: ownArguments, block: block, end: position(end)),
      to: &directives)
  }

  /// Passes over a block whose opening brace was read, with all blocks in it.
  private mutating func skipBlock(_ lexer: inout Lexer) {
    let brace = lexer.cursor - 1
    var depth = 1
    while depth > 0 {
      let token = next(&lexer)
      switch token.kind {
      case .open: depth += 1
      case .close: depth -= 1
      case .end:
        diagnostics.error("this \"{\" is never closed", at: position(brace))
        return
      case .word, .semicolon: break
      }
    }
  }
}

/// What is said about missing `;` and `}`.
extension Parser {
  private mutating func reportUnterminated(_ name: Word, before token: Token) {
    let last = arguments.last ?? name
    let place = Int(last.position.offset) + last.length
    let before = token.kind == .end ? "the end of the file" : "\"}\""
    diagnostics.error(
      "\(quoted(name.text)) is not ended by \";\" before \(before)",
      at: position(max(place - 1, 0)))
  }

  private mutating func reportUnclosed(_ block: OpenBlock) {
    var notes: [Diagnostic.Note] = []
    if let suspect { notes.append(suspect) }
    suspect = nil
    diagnostics.error(
      "the block of \(quoted(block.name.text)) is never closed; \"}\" is missing",
      at: position(block.brace), notes: notes)
  }

  /// Remembers the first block whose brace stands further left than its first line: if some brace
  /// turns out to be missing, it is most likely this one's.
  private mutating func noteIndentation(
    of block: OpenBlock, closedAt end: Int, _ bytes: [UInt8]
  ) {
    guard suspect == nil else { return }
    let opened = indentation(before: Int(block.name.position.offset), bytes)
    let closed = indentation(before: end, bytes)
    guard let opened, let closed, closed < opened else { return }
    suspect = Diagnostic.Note(
      "judging by the indentation, it is missing here", at: block.name)
  }

  /// How many blanks stand between the line's beginning and an offset; nil if anything else does.
  private func indentation(before offset: Int, _ bytes: [UInt8]) -> Int? {
    var index = offset
    while index > 0, bytes[index - 1] == ASCII.space || bytes[index - 1] == ASCII.tab {
      index -= 1
    }
    return index == 0 || bytes[index - 1] == ASCII.lineFeed ? offset - index : nil
  }
}

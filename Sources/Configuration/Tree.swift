// What the parser makes: words, directives, and the tree of them.
//
// The tree is the grammar only. Nothing here knows which directives exist or what they mean; the
// rows in Engine do. `include` and `env_file` are the two exceptions: they are part of the
// language, the parser carries them out, and they never stand in a tree.

/// One word: the name of a directive or an argument.
public struct Word: Sendable {
  /// The text, with quotes removed, escapes resolved and `${env:…}` substituted.
  public var text: String
  /// Where the word begins: its opening quote, when it has one.
  public var position: Position
  /// How many bytes of the source it takes, quotes included; for the caret line.
  public var length: Int
  /// Whether it stood in quotes.
  public var isQuoted: Bool
  /// The ranges of UTF-8 offsets in `text` that came from the environment, ascending. A dollar in
  /// them is a dollar: `splitTemplate(_:)` doesn't look for variables there.
  public var environmentRanges: [Range<Int>]?

  public init(
    text: String, position: Position, length: Int, isQuoted: Bool = false,
    environmentRanges: [Range<Int>]? = nil
  ) {
    self.text = text
    self.position = position
    self.length = length
    self.isQuoted = isQuoted
    self.environmentRanges = environmentRanges
  }
}

/// A name, its arguments, and either `;` or a block.
///
/// A class, though a value: passing it on counts one reference instead of five.
public final class Directive: Sendable {
  public let name: Word
  public let arguments: [Word]
  /// The directives between the braces; nil when it ended with `;`.
  public let block: [Directive]?
  /// The place of the `;` or of the closing brace.
  public let end: Position

  public init(name: Word, arguments: [Word], block: [Directive]? = nil, end: Position) {
    self.name = name
    self.arguments = arguments
    self.block = block
    self.end = end
  }
}

/// A whole configuration, with includes in place, and the files it came from.
public struct ConfigurationTree: Sendable {
  /// The directives of the main context: those of `-g` first, then those of the main file.
  public var directives: [Directive]
  public var sources: SourceMap

  public init(directives: [Directive], sources: SourceMap) {
    self.directives = directives
    self.sources = sources
  }
}

// nginx's own command line: short options, joined or apart (`-tq`, `-cfile`, `-g 'daemon off;'`).
// ArgumentParser can't be made to read these forms, and scripts depend on them.

import Engine

/// What the command line asks for, in nginx's form.
struct ClassicOptions: Equatable {
  var showsHelp = false
  var showsVersion = false
  var showsBuild = false
  var tests = false
  var dumps = false
  var isQuiet = false
  var signal: String?
  var prefix: String?
  var configuration: String?
  var errorLog: String?
  var globals: [String] = []

  /// A command line that means nothing.
  struct Invalid: Error, Equatable {
    let message: String
  }

  init(_ arguments: [String]) throws(Invalid) {
    var rest = arguments[...]
    while let word = rest.popFirst() {
      if try takeLong(word) { continue }
      guard word.hasPrefix("-"), word.count > 1 else {
        throw Invalid(message: "invalid option: \"\(word)\"" + Self.pointer(word))
      }
      var letters = word.dropFirst()
      while let letter = letters.popFirst() {
        if try flag(letter) { continue }
        guard Self.valued.contains(letter) else {
          throw Invalid(message: "invalid option: \"\(letter)\"" + Self.pointer(word))
        }
        // The value is the rest of the word, or the next word.
        let value = letters.isEmpty ? rest.popFirst() : String(letters)
        letters = ""
        // Scripts may have no directives to give.
        guard let value, !value.isEmpty || letter == "g" else {
          throw Invalid(message: "option \"-\(letter)\" requires \(Self.meaning(of: letter))")
        }
        try set(letter, value)
      }
    }
  }

  /// The paths and directives for the engine.
  var startOptions: StartOptions {
    var options = StartOptions(
      prefix: prefix, configurationPath: configuration,
      globalDirectives: globals.joined(separator: "\n"), errorLogPath: errorLog)
    options.isQuiet = isQuiet
    return options
  }

  /// The words that people try first, which nginx doesn't know.
  private mutating func takeLong(_ word: String) throws(Invalid) -> Bool {
    switch word {
    case "help", "--help": showsHelp = true
    case "--version": showsVersion = true
    default:
      guard word.hasPrefix("--") else { return false }
      throw Invalid(message: "invalid option: \"\(word)\"" + Self.pointer(word))
    }
    return true
  }

  /// Where to go from a word that means nothing.
  private static func pointer(_ word: String) -> String {
    FrontDoor.suggestion(for: word, among: Commands.names) + "; \"portico -h\" lists what there is"
  }

  private static let valued: Set<Character> = ["p", "c", "g", "e", "s"]

  private static func meaning(of letter: Character) -> String {
    switch letter {
    case "p": "directory name"
    case "s": "parameter"
    case "g": "directives"
    default: "file name"
    }
  }

  private mutating func flag(_ letter: Character) throws(Invalid) -> Bool {
    switch letter {
    case "h", "?": showsHelp = true
    case "v": showsVersion = true
    case "V":
      showsVersion = true
      showsBuild = true
    case "t": tests = true
    case "T":
      tests = true
      dumps = true
    case "q": isQuiet = true
    default: return false
    }
    return true
  }

  private mutating func set(_ letter: Character, _ value: String) throws(Invalid) {
    switch letter {
    case "p": prefix = value
    case "c": configuration = value
    case "e": errorLog = value
    case "g": globals.append(value)
    default:
      let signals = ["stop", "quit", "reopen", "reload"]
      guard signals.contains(value) else {
        let near = FrontDoor.suggestion(for: value, among: signals)
        throw Invalid(
          message: "invalid option: \"-s \(value)\"\(near); it takes stop, quit, reopen or reload")
      }
      signal = value
    }
  }

  static let help = """
    Usage: portico [-?hvVtTq] [-s signal] [-p prefix] [-e file] [-c file] [-g directives]
           portico serve [DIR] | portico proxy ADDRESS... | portico check URL | portico directives

    Options:
      -?,-h         : this help
      -v            : show version and exit
      -V            : show version and how it was built, then exit
      -t            : test configuration and exit
      -T            : test configuration, dump it and exit
      -q            : suppress non-error messages during configuration testing
      -s signal     : send signal to the running portico: stop, quit, reopen, reload
      -p prefix     : set prefix path (default: \(StartOptions.defaultPrefix))
      -e file       : set error log file (default: \(StartOptions.defaultErrorLogPath))
      -c file       : set configuration file (default: \(StartOptions.defaultConfigurationPath))
      -g directives : set global directives out of configuration file

    Commands (each has --help):
      serve         : serve the files of a folder, without a configuration file
      proxy         : balance the load over addresses, without a configuration file
      check         : ask a URL; the exit code says whether it answers well
      directives    : print the reference of directives

    Whatever fails ends with exit code 1.

    """
}

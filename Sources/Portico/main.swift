// The `portico` command: which of its forms was meant. Everything that it does is in Engine.

import ArgumentParser
import Engine

/// The commands that need no configuration file.
struct Commands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "portico", abstract: "The front door of web services.",
    subcommands: [ServeCommand.self, ProxyCommand.self, CheckCommand.self])
}

/// Runs nginx's form of the command line.
func runClassic(_ arguments: [String]) -> Int32 {
  let options: ClassicOptions
  do {
    options = try ClassicOptions(arguments)
  } catch {
    FrontDoor.say("portico: \(error.message)\n")
    return 1
  }
  if options.showsHelp || options.showsVersion {
    FrontDoor.say("portico version: portico/\(FrontDoor.version)\n")
    if options.showsHelp { FrontDoor.say(ClassicOptions.help) }
    if options.showsBuild { FrontDoor.say(FrontDoor.buildDescription) }
    return 0
  }
  if options.tests { return FrontDoor.test(options.startOptions, dumps: options.dumps) }
  if let signal = options.signal { return FrontDoor.signal(signal, options.startOptions) }
  return FrontDoor.start(options.startOptions)
}

let arguments = Array(CommandLine.arguments.dropFirst())
if arguments == [FrontDoor.workerProcessArgument] { FrontDoor.runWorkerProcess() }
let commandNames = Commands.configuration.subcommands.map(\._commandName)
if let first = arguments.first, commandNames.contains(first) {
  Commands.main(arguments)
} else {
  FrontDoor.exit(runClassic(arguments))
}

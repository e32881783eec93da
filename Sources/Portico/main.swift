// The `portico` command: which of its forms was meant. Everything that it does is in Engine.

import Engine

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
if let first = arguments.first, Commands.names.contains(first) {
  Commands.main(arguments)
} else {
  FrontDoor.exit(runClassic(arguments))
}

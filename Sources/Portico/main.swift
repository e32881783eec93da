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
  let code: Int32
  if options.tests {
    code = FrontDoor.test(options.startOptions, dumps: options.dumps)
  } else if let signal = options.signal {
    code = FrontDoor.signal(signal, options.startOptions)
  } else {
    code = FrontDoor.start(options.startOptions)
  }
  if code != 0, let hint = FrontDoor.hint(options.startOptions, named: options.configuration) {
    FrontDoor.say("portico: \(hint)\n")
  }
  return code
}

let arguments = Array(CommandLine.arguments.dropFirst())
if arguments == [FrontDoor.workerProcessArgument] { FrontDoor.runWorkerProcess() }
if let first = arguments.first, Commands.names.contains(first) {
  // What was printed is written when the process ends by itself.
  let code = Commands.run(arguments)
  if code != 0 { FrontDoor.exit(code) }
} else {
  FrontDoor.exit(runClassic(arguments))
}

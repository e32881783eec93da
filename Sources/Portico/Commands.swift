// `portico serve`, `portico proxy` and `portico check`: what can be had without a configuration
// file. Each of the first two writes one in memory, in the same language as everybody else's.

import ArgumentParser
import Engine

/// The commands that need no configuration file.
struct Commands: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "portico", abstract: "The front door of web services.",
    subcommands: [
      ServeCommand.self, ProxyCommand.self, CheckCommand.self, DirectivesCommand.self,
    ])

  /// The words that make a command line one of these.
  static let names = ["serve", "proxy", "check", "directives"]

  /// Runs one of them. A command line that means nothing ends with 1, as in nginx's form.
  static func run(_ arguments: [String]) -> Int32 {
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
      return 0
    } catch {
      let text = fullMessage(for: error)
      if exitCode(for: error) == .success {
        print(text)
        return 0
      }
      FrontDoor.say(text + "\n")
      return 1
    }
  }
}

/// Where the two doors without configuration listen.
struct PortOptions: ParsableArguments {
  @Option(name: .long, help: "The port for http; 0 switches it off.")
  var http: UInt16 = 8080

  @Option(name: .long, help: "The port for https, with a certificate made on the spot; 0: off.")
  var https: UInt16 = 8443

  @Option(name: .long, help: "The IP address to listen at. (default: all of this machine)")
  var listen: String?

  func validate() throws {
    if http == 0 && https == 0 { throw ValidationError("one of the ports must be other than 0") }
    if let listen { try InstantConfiguration.checkListenAddress(listen) }
  }

  var ports: InstantConfiguration.Ports {
    InstantConfiguration.Ports(http: http, https: https, address: listen)
  }
}

/// `portico serve [DIR]`.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serve the files of a folder.")

  @OptionGroup var ports: PortOptions
  @Argument(help: "The folder.") var folder = "."

  func validate() throws { try InstantConfiguration.checkFolder(folder) }

  func run() throws {
    let options = try InstantConfiguration.serving(folder, ports.ports)
    FrontDoor.exit(InstantConfiguration.run(options, ports.ports))
  }
}

/// `portico proxy ADDRESS…`.
struct ProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy", abstract: "Balance the load over addresses.")

  @OptionGroup var ports: PortOptions
  @Argument(help: "Servers, such as 127.0.0.1:3000, app:3000, 3000 or unix:/run/app.sock.")
  var addresses: [String]

  func validate() throws {
    for address in addresses { _ = try InstantConfiguration.server(address) }
  }

  func run() throws {
    let servers = try addresses.map(InstantConfiguration.server)
    let options = try InstantConfiguration.proxying(to: servers, ports.ports)
    FrontDoor.exit(InstantConfiguration.run(options, ports.ports))
  }
}

/// `portico check URL`.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Ask an http:// URL once; exit with 0 if it answers 2xx or 3xx.",
    discussion: "Meant for HEALTHCHECK in a container, where there is no curl.")

  @Option(name: .long, help: "Give up after this many seconds.")
  var timeout: Int = 5

  @Argument(help: "The URL.") var url: String

  func run() throws {
    FrontDoor.exit(FrontDoor.check(url, timeoutSeconds: max(1, timeout)))
  }
}

/// `portico directives`.
struct DirectivesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "directives", abstract: "Print the reference of directives, in Markdown.")

  func run() throws { print(FrontDoor.directiveReference(), terminator: "") }
}

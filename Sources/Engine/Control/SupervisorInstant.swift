// The configurations of `portico serve` and `portico proxy`: written here, kept in memory, read by
// the same parser as a file. Everything that such a door writes is in a folder of its own that goes
// when it ends.

import CLinux

/// Configurations that need no file.
public enum InstantConfiguration {
  /// Where to listen; 0 is nowhere.
  public struct Ports: Sendable {
    let http: UInt16
    let https: UInt16
    public init(http: UInt16, https: UInt16) {
      self.http = http
      self.https = https
    }
  }

  /// Serves the files of `folder`.
  public static func serving(_ folder: String, _ ports: Ports) -> StartOptions {
    let root = ProcessFiles.absolute(folder, in: ProcessFiles.workingFolder)
    return options(
      ports,
      location: """
        root \(quoted(root));
            index index.html;
        """, upstream: "")
  }

  /// Balances the load over `addresses`.
  public static func proxying(to addresses: [String], _ ports: Ports) -> StartOptions {
    let servers = addresses.map { "    server \($0);\n" }.joined()
    return options(
      ports,
      location: """
        location / {
              proxy_pass http://app;
              proxy_set_header Host $http_host;
              proxy_forwarded on;
            }
        """, upstream: "  upstream app {\n\(servers)  }\n")
  }

  /// Whether a word is an address and nothing that would end a directive.
  public static func isAddress(_ word: String) -> Bool {
    !word.isEmpty
      && word.utf8.allSatisfy { byte in
        byte > 0x20 && byte < 0x7f && !"\"'{};#\\$".utf8.contains(byte)
      }
  }

  private static func options(_ ports: Ports, location: String, upstream: String) -> StartOptions {
    let folder = makeFolder()
    var options = StartOptions(
      prefix: folder, configurationPath: "portico.conf", errorLogPath: "stderr")
    var listens = ports.http == 0 ? "" : "    listen \(ports.http);\n"
    if ports.https != 0,
      let made = try? SelfSigned.make(
        names: ["localhost", "127.0.0.1", "::1"], library: TLSLibrary())
    {
      listens += """
            listen \(ports.https) ssl;
            ssl_certificate certificate.pem;
            ssl_certificate_key key.pem;

        """
      options.overlay[folder + "certificate.pem"] = made.certificatePEM
      options.overlay[folder + "key.pem"] = made.keyPEM
    }
    // A command for developers: as root it stays root, because the folder to serve is theirs.
    let user = Identity.canChange ? "user root;\n" : ""
    let text = """
      \(user)worker_processes auto;
      pid portico.pid;
      error_log stderr notice;
      events {
      }
      http {
        access_log /dev/stdout;
        http2 on;
      \(upstream)  server {
      \(listens)    \(location)
        }
      }

      """
    options.overlay[options.configurationPath] = Array(text.utf8)
    return options
  }

  /// Says where to find the door, starts it, and removes the folder at the end.
  public static func run(_ options: StartOptions, _ ports: Ports) -> Int32 {
    var places: [String] = []
    if ports.http != 0 { places.append("http://127.0.0.1:\(ports.http)/") }
    if ports.https != 0 { places.append("https://localhost:\(ports.https)/ (self-signed)") }
    FrontDoor.say("portico: \(places.joined(separator: " and ")); ctrl-c ends it\n")
    defer {
      for path in ProcessFiles.glob(options.prefix + "*") { _ = unsafe rmdir(path) }
      _ = unsafe rmdir(options.prefix)
    }
    return FrontDoor.start(options)
  }

  private static func quoted(_ path: String) -> String {
    var text = "\""
    for character in path {
      if character == "\"" || character == "\\" { text.append("\\") }
      text.append(character)
    }
    return text + "\""
  }

  /// A folder that only this user can enter.
  private static func makeFolder() -> String {
    let parent = ProcessFiles.environment("TMPDIR") ?? "/tmp"
    let folder = "\(parent)/portico-\(Process.identifier)/"
    try? ProcessFiles.makeFolders(folder, mode: 0o700)
    return folder
  }
}

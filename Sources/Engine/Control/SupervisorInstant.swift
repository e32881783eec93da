// The configurations of `portico serve` and `portico proxy`: written here, kept in memory, read by
// the same parser as a file. Everything that such a door writes is in a folder of its own that goes
// when it ends.

import CLinux

/// Configurations that need no file.
public enum InstantConfiguration {
  /// Where to listen.
  public struct Ports: Sendable {
    /// 0: nowhere.
    let http: UInt16
    let https: UInt16
    /// An IP address; nil: all of this machine.
    let address: String?

    public init(http: UInt16, https: UInt16, address: String? = nil) {
      self.http = http
      self.https = https
      self.address = address
    }

    /// What `listen` takes to listen at `port`.
    fileprivate func listens(_ port: UInt16) -> [String] {
      if let address {
        return [address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"]
      }
      // "localhost" is ::1 for many clients. Without IPv6 in the kernel there is no such file.
      let hasIPv6 = !((try? ProcessFiles.read("/proc/net/if_inet6")) ?? []).isEmpty
      return hasIPv6 ? ["\(port)", "[::]:\(port)"] : ["\(port)"]
    }

    /// The URLs to find the door at.
    fileprivate var places: String {
      let host = address.map { $0.contains(":") ? "[\($0)]" : $0 }
      var places: [String] = []
      if http != 0 { places.append("http://\(host ?? "127.0.0.1"):\(http)/") }
      if https != 0 { places.append("https://\(host ?? "localhost"):\(https)/ (self-signed)") }
      return places.joined(separator: " and ")
    }
  }

  /// Serves the files of `folder`, but for hidden ones: `.git` and `.env` are nobody's business.
  public static func serving(_ folder: String, _ ports: Ports) throws(Invalid) -> StartOptions {
    let root = ProcessFiles.absolute(folder, in: ProcessFiles.workingFolder)
    return try options(
      ports,
      location: """
        root \(quoted(root));
            index index.html;
            autoindex on;
            location ~ "/\\\\.(?!well-known(/|$))" {
              return 404;
            }
            location = /healthz {
              access_log off;
              try_files /healthz @healthy;
            }
            \(healthy)
        """, before: mediaTypes + "  geo $\(dollar) {\n    default \"$\";\n  }\n")
  }

  /// Balances the load over `servers`, as `server(_:)` gives them.
  public static func proxying(to servers: [String], _ ports: Ports) throws(Invalid) -> StartOptions
  {
    let servers = servers.map { "    server \($0);\n" }.joined()
    return try options(
      ports,
      location: """
        location / {
              proxy_pass http://app;
              proxy_set_header Host $http_host;
              proxy_forwarded on;
            }
            location = /healthz {
              access_log off;
              proxy_pass http://app;
              proxy_set_header Host $http_host;
              proxy_forwarded on;
              proxy_intercept_errors on;
              error_page 404 = @healthy;
            }
            \(healthy)
        """, before: "  upstream app {\n\(servers)  }\n")
  }

  /// What container health checks ask for, where the files or the application have no such page.
  private static let healthy = """
    location @healthy {
          access_log off;
          default_type text/plain;
          return 200 "ok\\n";
        }
    """

  private static func options(
    _ ports: Ports, location: String, before: String
  ) throws(Invalid) -> StartOptions {
    let made = ports.https == 0 ? nil : try certificate(for: ports)
    let folder = try makeFolder()
    var options = StartOptions(
      prefix: folder, configurationPath: "portico.conf", errorLogPath: "stderr")
    var listens: [String] = []
    if ports.http != 0 { listens += ports.listens(ports.http) }
    if let made {
      listens += ports.listens(ports.https).map { "\($0) ssl" }
      options.overlay[folder + "certificate.pem"] = made.certificatePEM
      options.overlay[folder + "key.pem"] = made.keyPEM
    }
    // Nobody renews a pair that is on no disk.
    let certificate =
      made == nil
      ? ""
      : """
          ssl_certificate certificate.pem;
          ssl_certificate_key key.pem;
          ssl_certificate_watch off;

      """
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
      \(before)  server {
      \(listens.map { "    listen \($0);\n" }.joined())\(certificate)    \(location)
        }
      }

      """
    options.overlay[options.configurationPath] = Array(text.utf8)
    return options
  }

  private static func certificate(
    for ports: Ports
  ) throws(Invalid) -> (certificatePEM: [UInt8], keyPEM: [UInt8]) {
    let names = ["localhost", "127.0.0.1", "::1"]
    let own = ports.address.map { names.contains($0) ? [] : [$0] } ?? []
    do throws(TLSConfigurationError) {
      return try SelfSigned.make(names: names + own, library: TLSLibrary())
    } catch {
      throw Invalid("no certificate for https: \(error.message); \"--https 0\" does without")
    }
  }

  /// Starts the door, says where to find it once it serves, and removes the folder at the end.
  public static func run(_ options: StartOptions, _ ports: Ports) -> Int32 {
    defer {
      for path in ProcessFiles.glob(options.prefix + "*") { _ = unsafe rmdir(path) }
      _ = unsafe rmdir(options.prefix)
    }
    return FrontDoor.start(options, greeting: "portico: \(ports.places); ctrl-c ends it\n")
  }

  /// The variable that stands for a dollar, for which the language has no other spelling.
  private static let dollar = "dollar"

  /// A path as one word in which nothing has a meaning.
  private static func quoted(_ path: String) -> String {
    var text = "\""
    for character in path.unicodeScalars {
      switch character {
      case "\"", "\\": text += "\\\(character)"
      case "$": text += "${\(dollar)}"
      default: text.unicodeScalars.append(character)
      }
    }
    return text + "\""
  }

  /// A folder that only this user can enter.
  private static func makeFolder() throws(Invalid) -> String {
    let parent = ProcessFiles.environment("TMPDIR") ?? "/tmp"
    let folder = "\(parent)/portico-\(Process.identifier)/"
    do throws(SystemError) {
      try ProcessFiles.makeFolders(folder, mode: 0o700)
    } catch {
      throw Invalid("mkdir() \"\(folder)\" failed \(error.logText)")
    }
    return folder
  }
}

// A door that speaks HTTP/2 to its upstreams.

import Foundation

/// What tests of HTTP/2 to upstreams begin with.
enum H2UpstreamDoor {
  /// Passes what `locations` say by HTTP/2, `%%H2_0%%` being the address of the first upstream.
  static func start(
    _ upstreams: [H2TestUpstream], _ locations: String, http: String = "", timeout: String = "1m"
  )
    async throws -> RunningPortico
  {
    func fill(_ text: String) -> String {
      upstreams.enumerated().reduce(text) {
        $0.replacingOccurrences(of: "%%H2_\($1.offset)%%", with: $1.element.address)
      }
    }
    return try await Portico.start(
      config: """
        http {
          proxy_http_version 2;
          proxy_read_timeout \(timeout);
          \(fill(http))
          server { listen 127.0.0.1:%%PORT_0%%; \(fill(locations)) }
        }
        """)
  }

  /// A location that passes everything to the first upstream.
  static let pass = "location / { proxy_pass http://%%H2_0%%; }"
}

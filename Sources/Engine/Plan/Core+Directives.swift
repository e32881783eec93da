// Directives of ngx_http_core_module and ngx_http_index_module
// (https://nginx.org/en/docs/http/ngx_http_core_module.html).

import Configuration
import HTTP

extension Row {
  static let coreRows: [Row] = [
    // --- requests ---------------------------------------------------------------------------------
    .size("client_header_buffer_size", .httpServer, \.server.headerBufferBytes, "1k", "The buffer that a request head begins in."),
    Row("large_client_header_buffers", .httpServer, 2...2, "Number and size of buffers for large request heads: the longest line, and with the number the largest head.", standard: "4 8k") {
      scope, directive throws(Refusal) in
      scope.server.largeHeaderBufferCount = try directive.number(0, 1...1024)
      scope.server.largeHeaderBufferBytes = try directive.size(1)
    },
    .time("client_header_timeout", .httpServer, \.server.headerTimeout, "60s", "How long a client may take for a request head."),
    .flag("merge_slashes", .httpServer, \.server.mergeSlashes, "on", "Whether adjacent slashes of a path become one."),
    .flag("ignore_invalid_headers", .httpServer, \.server.ignoresInvalidFields, "on", "Whether fields with invalid names are dropped."),
    .flag("underscores_in_headers", .httpServer, \.server.allowsUnderscores, "off", "Whether field names may have underscores."),
    .number("max_headers", .httpServer, 1...100_000, \.server.maxFields, "1000", "The number of fields that a request may have."),
    .size("client_max_body_size", .httpServerLocation, \.location.core.maxBodyBytes, "1m", "The largest request body; 0: any."),
    .size("client_body_buffer_size", .httpServerLocation, \.location.core.bodyBufferBytes, "16k", "How much of a request body stays in memory."),
    Row("client_body_temp_path", .httpServerLocation, 1...4, "The folder for request bodies that don't stay in memory.", standard: "client_body_temp") {
      scope, directive throws(Refusal) in
      scope.location.core.bodyTemporaryPath = directive.text(0)
      scope.builder.temporaryPaths.insert(directive.text(0))
    },
    .choice("client_body_in_file_only", .httpServerLocation, \.location.core.bodyInFileOnly, "off", "Whether request bodies are always written to a file with a name: `on` keeps the files, `clean` removes them."),
    .noEffect("client_body_in_single_buffer", .httpServerLocation, 1...1, "Accepted for nginx's sake: what stays in memory always is one buffer."),
    .time("client_body_timeout", .httpServerLocation, \.location.core.bodyTimeout, "60s", "How long a client may send nothing of a request body."),
    .time("send_timeout", .httpServerLocation, \.location.core.sendTimeout, "60s", "How long a client may take nothing of a response."),
    // --- connections ------------------------------------------------------------------------------
    Row("keepalive_timeout", .httpServerLocation, 1...2, "How long an idle client connection is kept; the second value is told to the client.", standard: "75s") {
      scope, directive throws(Refusal) in
      scope.location.core.keepaliveTimeout = try directive.time(0)
      if directive.arguments.count > 1 {
        scope.location.core.keepaliveHeaderSeconds = try directive.time(1) / 1000
      }
    },
    .time("keepalive_min_timeout", .httpServerLocation, \.location.core.keepaliveLeast, "0", "How long at least an idle client connection is kept, even by a worker that stops."),
    .number("keepalive_requests", .httpServerLocation, 1...Int.max, \.location.core.keepaliveRequests, "1000", "Requests that one connection may make."),
    .time("keepalive_time", .httpServerLocation, \.location.core.keepaliveTime, "1h", "How long a connection may make requests."),
    .choice("lingering_close", .httpServerLocation, \.location.core.lingeringClose, "on", "Whether to wait for a client that still sends before closing."),
    .time("lingering_time", .httpServerLocation, \.location.core.lingeringTime, "30s", "How long to read what nobody wants before closing."),
    .time("lingering_timeout", .httpServerLocation, \.location.core.lingeringTimeout, "5s", "How long to wait for more of it."),
    .flag("tcp_nopush", .httpServerLocation, \.location.core.usesNoPush, "off", "Whether heads and files fill whole packets; always so here, by MSG_MORE."),
    .flag("tcp_nodelay", .httpServerLocation, \.location.core.usesNoDelay, "on", "Whether small packets leave at once; always so here."),
    .flag("reset_timedout_connection", .httpServerLocation, \.location.core.resetsTimedOut, "off", "Whether a connection that timed out is reset."),
    // --- where things are -------------------------------------------------------------------------
    Row("root", .anyHTTP, 1...1, "The folder that paths begin in.", standard: "html") { scope, directive throws(Refusal) in
      scope.location.core.root = try scope.template(directive, 0)
      scope.location.core.alias = nil
    },
    Row("alias", .location, 1...1, "What replaces the location's part of the path.") { scope, directive throws(Refusal) in
      scope.location.core.alias = try scope.template(directive, 0)
      guard let place = scope.place, !place.isRegex else { return }
      let path = place.prefix.string
      if path.hasSuffix("/") != directive.text(0).hasSuffix("/") && path != "/" {
        scope.warn(
          path.hasSuffix("/")
            ? "\"alias\" should end with a slash, as its location \"\(path)\" does"
            : "location \"\(path)\" should end with a slash, as its alias does: \"\(path)..\" would reach outside",
          directive.arguments[0])
      }
    },
    Row("index", .httpServerLocation, 1...1000, "The files that stand for a folder.", standard: "index.html") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.core.index = [] }
      for position in directive.arguments.indices {
        scope.location.core.index.append(try scope.template(directive, position))
      }
    }.repeatable(),
    Row("try_files", [.server, .location], 2...1000, "Paths to try in order; the last one is where the request goes.") {
      scope, directive throws(Refusal) in
      var words: [TryFile] = []
      for position in directive.arguments.indices.dropLast() {
        let word = directive.text(position)
        let isFolder = word.hasSuffix("/")
        let path = isFolder ? try scope.template(String(word.dropLast()), position) : try scope.template(directive, position)
        words.append(TryFile(path: path, isFolder: isFolder))
      }
      let last = directive.arguments.count - 1
      if directive.text(last).hasPrefix("=") {
        scope.location.core.tryFilesStatus = try directive.number(String(directive.text(last).dropFirst()), last, 100...999)
      } else {
        words.append(TryFile(path: try scope.template(directive, last), isFolder: false))
        scope.location.core.tryFilesStatus = nil
      }
      scope.location.core.tryFiles = words
    },
    Row("stub_status", [.server, .location], 0...1, "Answers with the numbers of connections and requests of all threads, in nginx's words.") { scope, directive throws(Refusal) in
      scope.location.core.tellsStatus = true
    },
    Row("empty_gif", .location, 0...0, "Answers with a transparent image of one pixel.") { scope, directive throws(Refusal) in
      scope.location.core.isEmptyImage = true
    },
    Row("internal", .location, 0...0, "Only internal redirects reach this location.") { scope, directive throws(Refusal) in
      scope.location.core.isInternal = true
    },
    Row("types", .httpServerLocation, 0...0, "Media types by file extension.") { scope, directive throws(Refusal) in
      var types = MediaTypes()
      for entry in directive.block ?? [] {
        for word in entry.arguments { _ = types.insert(word.text, type: entry.name.text) }
      }
      scope.location.core.types = types
    }.block(),
    Row("default_type", .httpServerLocation, 1...1, "The media type of other files.", standard: "text/plain") {
      scope, directive throws(Refusal) in
      scope.location.core.defaultType = scope.bytes(directive.text(0))
    },
    // --- responses --------------------------------------------------------------------------------
    Row("error_page", .anyHTTP, 2...1000, "What answers in place of an error.") { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.core.errorPages = [] }
      scope.location.core.errorPages.append(try errorPage(scope, directive))
    }.repeatable(),
    .flag("recursive_error_pages", .anyHTTP.subtracting(.locationIf), \.location.core.recursiveErrorPages, "off", "Whether an error page may have an error page."),
    Row("server_tokens", .httpServerLocation, 1...1, "What the Server field and our own pages tell: `off` our name, `on` and `build` the version too, any other string itself; an empty one leaves the field out.", standard: "off") {
      scope, directive throws(Refusal) in
      switch directive.text(0) {
      case "off": scope.location.core.signature = nil
      case "on", "build": scope.location.core.signature = Template(literal: scope.bytes(Version.product))
      default: scope.location.core.signature = try scope.template(directive, 0)
      }
    },
    .flag("absolute_redirect", .httpServerLocation, \.location.core.absoluteRedirect, "on", "Whether redirects name scheme and host."),
    .flag("server_name_in_redirect", .httpServerLocation, \.location.core.serverNameInRedirect, "off", "Whether redirects use the first server_name."),
    .flag("port_in_redirect", .httpServerLocation, \.location.core.portInRedirect, "on", "Whether redirects name the port."),
    .flag("chunked_transfer_encoding", .httpServerLocation, \.location.core.chunkedTransferEncoding, "on", "Whether bodies of unknown length go out in chunks."),
    Row("limit_rate", .anyHTTP, 1...1, "Bytes a second that one response is sent with; 0: as many as the client takes.", standard: "0") {
      scope, directive throws(Refusal) in
      scope.location.core.limitRate = try byteRate(scope, directive)
    },
    Row("limit_rate_after", .anyHTTP, 1...1, "How much of a response is sent before its rate is limited.", standard: "0") {
      scope, directive throws(Refusal) in
      scope.location.core.limitRateAfter = try byteRate(scope, directive)
    },
    Row("early_hints", .httpServerLocation, 1...1000, "Passes an upstream's interim responses (103, 102) on if one of the values is neither empty nor 0.") {
      scope, directive throws(Refusal) in
      var conditions: [Template] = []
      for position in directive.arguments.indices {
        conditions.append(try scope.template(directive, position))
      }
      scope.location.core.earlyHints = conditions
    },
    .flag("etag", .httpServerLocation, \.location.core.etag, "on", "Whether files get an ETag."),
    .choice("if_modified_since", .httpServerLocation, \.location.core.ifModifiedSince, "exact", "How If-Modified-Since is compared."),
    .number("max_ranges", .httpServerLocation, 0...Int.max, \.location.core.maxRanges, "—", "Byte ranges that one request may ask for; 0: none."),
    .flag("sendfile", .anyHTTP, \.location.core.usesSendfile, "on", "Whether files are sent by sendfile(2); always so here without TLS."),
    .flag("log_not_found", .httpServerLocation, \.location.core.logsNotFound, "on", "Whether missing files are worth an error log line."),
    Row("disable_symlinks", .httpServerLocation, 1...2, "Whether files are refused whose path has symbolic links in it, or links of another owner; `from=` trusts the path's beginning.", standard: "off") {
      scope, directive throws(Refusal) in
      scope.location.core.trustedPath = nil
      for index in directive.arguments.indices {
        switch directive.text(index) {
        case "off": scope.location.core.symlinks = .all
        case "on": scope.location.core.symlinks = .none
        case "if_not_owner": scope.location.core.symlinks = .ofSameOwner
        default:
          guard let part = directive.parameter("from", index) else {
            throw directive.unknownParameter(index, ["on", "off", "if_not_owner", "from="])
          }
          scope.location.core.trustedPath = try scope.template(part, index)
        }
      }
    },
    Row("open_file_cache", .httpServerLocation, 1...2, "How many open files are kept, and for how long unused.", standard: "off") {
      scope, directive throws(Refusal) in
      scope.location.core.fileCache = try fileCache(directive)
    },
    .time("open_file_cache_valid", .httpServerLocation, \.location.core.fileCacheValid, "60s", "How long what is known of a file is believed."),
    .number("open_file_cache_min_uses", .httpServerLocation, 1...Int.max, \.location.core.fileCacheMinUses, "1", "Uses before a file stays open."),
    .flag("open_file_cache_errors", .httpServerLocation, \.location.core.cachesFileErrors, "off", "Whether missing files are remembered."),
    Row("resolver", [.http, .server, .location, .upstream], 1...1000, "Name servers for names that only requests know.") {
      scope, directive throws(Refusal) in
      let settings = try resolver(directive)
      if scope.context == .upstream { scope.upstream?.settings.resolver = settings }
      scope.location.core.resolver = settings
    },
    Row("resolver_timeout", [.http, .server, .location, .upstream], 1...1, "How long resolving a name may take.", standard: "30s") {
      scope, directive throws(Refusal) in
      let time = try directive.time(0)
      scope.location.core.resolverTimeout = time
      scope.location.core.resolver?.timeout = time
      scope.upstream?.settings.resolver?.timeout = time
    },
  ]

  private static func errorPage(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ErrorPage {
    var statuses: [Int] = []
    var answer: Int?
    let last = directive.arguments.count - 1
    for index in 0..<last {
      let word = directive.text(index)
      if word.hasPrefix("=") {
        guard index == last - 1 else {
          throw Refusal("\"\(word)\" must stand right before the page", argument: index)
        }
        answer = word == "=" ? 0 : try directive.number(String(word.dropFirst()), index, 100...999)
        continue
      }
      let status = try directive.number(index, 300...599)
      if status == 499 { throw Refusal("\"error_page\" can't stand for 499: the client is gone", argument: index) }
      // nginx's codes for TLS troubles that the client sees as 400.
      statuses.append(status)
    }
    let target = directive.text(last)
    return ErrorPage(
      statuses: statuses, responseStatus: answer, target: try scope.template(directive, last),
      named: target.hasPrefix("@") ? String(target.dropFirst()) : nil)
  }

  private static func byteRate(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ByteRate {
    let template = try scope.template(directive, 0)
    if template.isConstant { return ByteRate(constant: try directive.size(0)) }
    return ByteRate(template: template)
  }

  private static func fileCache(_ directive: Directive) throws(Refusal) -> FileCacheSettings? {
    if directive.text(0) == "off" { return nil }
    var settings = FileCacheSettings(maxEntries: 0)
    for index in directive.arguments.indices {
      if let value = directive.parameter("max", index) {
        settings.maxEntries = try directive.number(value, index, 1...(1 << 24))
      } else if let value = directive.parameter("inactive", index) {
        settings.inactive = try directive.time(value, index)
      } else {
        throw directive.unknownParameter(index, ["max=", "inactive=", "off"])
      }
    }
    guard settings.maxEntries > 0 else { throw Refusal("\"open_file_cache\" needs \"max=NUMBER\"") }
    return settings
  }

  static func resolver(_ directive: Directive) throws(Refusal) -> ResolverSettings {
    var settings = ResolverSettings(servers: [])
    for index in directive.arguments.indices {
      if let value = directive.parameter("valid", index) {
        settings.validity = try directive.time(value, index)
      } else if let value = directive.parameter("ipv6", index) {
        settings.usesIPv6 = value != "off"
      } else if let value = directive.parameter("ipv4", index) {
        settings.usesIPv4 = value != "off"
      } else if directive.parameter("status_zone", index) != nil {
        continue
      } else if let address = HostPort(directive.text(index), defaultPort: 53)?.address {
        settings.servers.append(address)
      } else {
        throw Refusal("\"\(directive.text(index))\" is not the address of a name server", argument: index)
      }
    }
    return settings
  }
}

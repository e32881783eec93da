// Directives of ngx_http_core_module and ngx_http_index_module about files: where they are, how
// they are sent, what is remembered of them
// (https://nginx.org/en/docs/http/ngx_http_core_module.html).

import Configuration
import HTTP

extension Row {
  static let fileRows: [Row] = [
    Row("root", .anyHTTP, 1...1, "The folder that paths begin in.", standard: "html") {
      scope, directive throws(Refusal) in
      try refuse(directive, behind: "alias", scope)
      // Paths begin with a slash themselves.
      let text = directive.text(0)
      let bare = text.hasSuffix("/") && text.utf8.count > 1 ? String(text.dropLast()) : text
      scope.location.core.root = try folder(scope, directive, bare)
      scope.location.core.alias = nil
    },
    Row("alias", .location, 1...1, "What replaces the location's part of the path.") {
      scope, directive throws(Refusal) in
      if scope.place?.isNamed == true {
        throw Refusal("the \"alias\" directive cannot be used inside the named location")
      }
      try refuse(directive, behind: "root", scope)
      guard let place = scope.place else { return }
      scope.location.core.alias = Alias(
        path: try folder(scope, directive, directive.text(0)),
        prefix: place.isRegex ? nil : place.prefix)
      if place.isRegex { return }
      let path = place.prefix.string
      if path.hasSuffix("/") != directive.text(0).hasSuffix("/") && path != "/" {
        scope.warn(
          path.hasSuffix("/")
            ? "\"alias\" should end with a slash, as its location \"\(path)\" does"
            : """
            location "\(path)" should end with a slash, as its alias does: "\(path).." would reach \
            outside
            """,
          directive.arguments[0])
      }
    },
    Row(
      "index", .httpServerLocation, 1...1000, "The files that stand for a folder.",
      standard: "index.html"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.core.index = [] }
      for position in directive.arguments.indices {
        scope.location.core.index.append(try scope.template(directive, position))
      }
    }.repeatable(),
    Row(
      "try_files", [.server, .location], 2...1000,
      "Paths to try in order; the last one is where the request goes."
    ) { scope, directive throws(Refusal) in
      var words: [TryFile] = []
      for position in directive.arguments.indices.dropLast() {
        let word = directive.text(position)
        let isFolder = word.hasSuffix("/")
        let path =
          isFolder
          ? try scope.template(String(word.dropLast()), position)
          : try scope.template(directive, position)
        words.append(TryFile(path: path, isFolder: isFolder))
      }
      let last = directive.arguments.count - 1
      if directive.text(last).hasPrefix("=") {
        scope.location.core.tryFilesStatus = try directive.number(
          String(directive.text(last).dropFirst()), last, 100...999)
      } else {
        words.append(TryFile(path: try scope.template(directive, last), isFolder: false))
        scope.location.core.tryFilesStatus = nil
      }
      scope.location.core.tryFiles = words
    },
    Row("types", .httpServerLocation, 0...0, "Media types by file extension.") {
      scope, directive throws(Refusal) in
      // Several blocks of one level add up, and replace those of the level outside.
      var types = scope.isFirst(directive) ? MediaTypes() : scope.location.core.types
      for entry in directive.block ?? [] {
        for word in entry.arguments { _ = types.insert(word.text, type: entry.name.text) }
      }
      scope.location.core.types = types
    }.block().repeatable(),
    Row(
      "default_type", .httpServerLocation, 1...1, "The media type of other files.",
      standard: "text/plain"
    ) { scope, directive throws(Refusal) in
      scope.location.core.defaultType = scope.bytes(directive.text(0))
    },
    .flag("etag", .httpServerLocation, \.location.core.etag, "on", "Whether files get an ETag."),
    .choice(
      "if_modified_since", .httpServerLocation, \.location.core.ifModifiedSince, "exact",
      "How If-Modified-Since is compared."),
    .number(
      "max_ranges", .httpServerLocation, 0...Int.max, \.location.core.maxRanges, "—",
      "Byte ranges that one request may ask for; 0: none."),
    .flag(
      "sendfile", .anyHTTP, \.location.core.usesSendfile, "on",
      "Whether files are sent by sendfile(2); always so here without TLS."),
    .flag(
      "log_not_found", .httpServerLocation, \.location.core.logsNotFound, "on",
      "Whether missing files are worth an error log line."),
    Row(
      "disable_symlinks", .httpServerLocation, 1...2,
      """
      Whether files are refused whose path has symbolic links in it, or links of another owner; \
      `from=` trusts the path's beginning.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
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
    Row(
      "open_file_cache", .httpServerLocation, 1...2,
      "How many open files are kept, and for how long unused.", standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.core.fileCache = try fileCache(directive)
    },
    .time(
      "open_file_cache_valid", .httpServerLocation, \.location.core.fileCacheValid, "60s",
      "How long what is known of a file is believed."),
    .number(
      "open_file_cache_min_uses", .httpServerLocation, 1...Int.max,
      \.location.core.fileCacheMinUses, "1", "Uses before a file stays open."),
    .flag(
      "open_file_cache_errors", .httpServerLocation, \.location.core.cachesFileErrors, "off",
      "Whether missing files are remembered."),
  ]

  /// `root` and `alias` say the same in two ways: whichever comes second is refused.
  private static func refuse(
    _ directive: Directive, behind other: String, _ scope: Scope
  ) throws(Refusal) {
    let name = directive.name.text
    if scope.seen.has(other, before: name) {
      throw Refusal(
        "\"\(name)\" directive is duplicate, \"\(other)\" directive was specified earlier")
    }
  }

  /// What `root` or `alias` names; the variables that show it can't be part of it.
  private static func folder(
    _ scope: Scope, _ directive: Directive, _ path: String
  ) throws(Refusal) -> Template {
    let template = try scope.template(path, 0)
    for part in template.parts {
      guard case .variable(.builtin(.request(let name))) = part,
        name == .document_root || name == .realpath_root
      else { continue }
      throw Refusal(
        "the $\(name.rawValue) variable can't be used in \"\(directive.name.text)\"", argument: 0)
    }
    return template
  }

  private static func fileCache(_ directive: Directive) throws(Refusal) -> FileCacheSettings? {
    if directive.text(0) == "off" { return nil }
    var settings = FileCacheSettings(maxEntries: 0)
    for index in directive.arguments.indices {
      if let value = directive.parameter("max", index) {
        settings.maxEntries = try directive.number(value, index, 1...(1 << 24))
      } else if let value = directive.parameter("inactive", index) {
        settings.inactive = try directive.longTime(value, index)
      } else {
        throw directive.unknownParameter(index, ["max=", "inactive=", "off"])
      }
    }
    guard settings.maxEntries > 0 else { throw Refusal("\"open_file_cache\" needs \"max=NUMBER\"") }
    return settings
  }
}

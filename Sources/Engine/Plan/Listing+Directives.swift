// Directives of ngx_http_autoindex_module and ngx_http_random_index_module
// (https://nginx.org/en/docs/http/ngx_http_autoindex_module.html).

import Configuration

extension Row {
  static let listingRows: [Row] = [
    .flag(
      "autoindex", .httpServerLocation, \.location.core.listing.isOn, "off",
      """
      Whether a folder without an index file is answered with a list of its files, hidden ones \
      left out.
      """
    ),
    .flag(
      "autoindex_exact_size", .httpServerLocation, \.location.core.listing.isExact, "on",
      "Whether a list in HTML shows sizes in bytes, or rounded."),
    .choice(
      "autoindex_format", .httpServerLocation, \.location.core.listing.format, "html",
      "The form of lists: `jsonp` calls the function that the argument `callback` names."),
    .flag(
      "autoindex_localtime", .httpServerLocation, \.location.core.listing.isLocal, "off",
      "Whether a list in HTML shows times in the local zone, or in UTC."),
    .flag(
      "random_index", .location, \.location.core.listing.picksRandomly, "off",
      "Whether a random file of a folder answers for it."),
  ]
}

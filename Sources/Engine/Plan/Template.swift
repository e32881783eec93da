// nginx's complex values: words with variables in them, compiled once, evaluated per exchange.

import HTTP

/// A compiled word: literal bytes, variables and captures in order.
struct Template {
  enum Part {
    case literal(Bytes)
    case variable(Variable)
    /// `$1` … `$9` of the regular expression matched last.
    case capture(Int)
  }

  let parts: [Part]

  /// The bytes of a template without variables, or nil.
  let literal: Bytes?

  init(parts: [Part]) {
    self.parts = parts
    switch parts.count {
    case 0: literal = Bytes()
    case 1: if case .literal(let bytes) = parts[0] { literal = bytes } else { literal = nil }
    default: literal = nil
    }
  }

  init(literal: Bytes) { self.init(parts: [.literal(literal)]) }

  var isConstant: Bool { literal != nil }
}

/// A variable, resolved to what computes it when the configuration was compiled.
enum Variable: BitwiseCopyable {
  /// One that the proxy computes.
  case builtin(Builtin)
  /// One that `set` or a named capture assigns: an index into the exchange's values.
  case slot(Int)
  /// One that a `map` block computes: an index into the plan's maps.
  case map(Int)
  /// One of a family, such as `$http_NAME`.
  case member(Family, Bytes)
  /// A field of the PROXY protocol header: `$proxy_protocol_tlv_NAME`.
  case proxyField(ProxyField)

  /// Families of variables: the name follows the prefix.
  enum Family: UInt8, CaseIterable {
    case argument, cookie, requestField, sentField, upstreamField, upstreamCookie, sentTrailer
    case upstreamTrailer
  }
}

/// The variables that the proxy computes, by nginx's names.
enum Builtin: String, CaseIterable {
  case date_gmt, date_local
  case args, binary_remote_addr, body_bytes_sent, bytes_sent, connection, connection_requests
  case connections_active, connections_reading, connections_waiting, connections_writing
  case connection_time, content_length, content_type, document_root, document_uri, gzip_ratio, host
  case hostname, https, is_args, invalid_referer, is_request_port, limit_rate, limit_conn_status, limit_req_status
  case msec, nginx_version, pid, pipe, proxy_protocol_addr
  case proxy_protocol_port, proxy_protocol_server_addr, proxy_protocol_server_port
  case query_string, realip_remote_addr, realip_remote_port, realpath_root, remote_addr, remote_port, remote_user, request, request_body
  case request_body_file, request_completion, request_filename, request_id, request_length
  case request_method, request_port, request_time, request_uri, scheme, server_addr, server_name, server_port
  case secure_link, secure_link_expires, server_protocol, status, time_iso8601, time_local, uid_got, uid_set, uri, http2
  case proxy_host, proxy_port, proxy_add_x_forwarded_for, proxy_internal_body_length
  case upstream_addr, upstream_bytes_received, upstream_bytes_sent, upstream_cache_status
  case upstream_cache_etag, upstream_cache_last_modified
  case upstream_connect_time, upstream_header_time, upstream_response_length
  case upstream_response_time, upstream_status
  case ssl_protocol, ssl_cipher, ssl_ciphers, ssl_curve, ssl_curves, ssl_session_id
  case ssl_session_reused, ssl_server_name, ssl_early_data, ssl_alpn_protocol, ssl_client_cert
  case ssl_client_raw_cert, ssl_client_escaped_cert, ssl_client_s_dn, ssl_client_i_dn
  case ssl_client_serial, ssl_client_fingerprint, ssl_client_verify, ssl_client_v_start
  case ssl_client_v_end, ssl_client_v_remain, ssl_client_s_dn_legacy, ssl_client_i_dn_legacy
  case ssl_sigalg, ssl_sigalgs, ssl_client_sigalg, ssl_ech_status, ssl_ech_outer_server_name
  case tcpinfo_rtt, tcpinfo_rttvar, tcpinfo_snd_cwnd, tcpinfo_rcv_space

  /// Whether `set` may assign it.
  var isAssignable: Bool { self == .args || self == .limit_rate }
}

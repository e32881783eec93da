// The variables that the proxy computes, by what they speak of. Each enum lists names as nginx has
// them (https://nginx.org/en/docs/varindex.html); the function of Exchange that computes them is a
// switch over that enum alone, so that a name without a value doesn't compile.

/// A variable that the proxy computes.
enum Builtin: BitwiseCopyable {
  case request(RequestVariable)
  case client(ClientVariable)
  case response(ResponseVariable)
  case process(ProcessVariable)
  case proxy(ProxyVariable)
  case tries(TryVariable)
  case tls(TLSVariable)
  case certificate(CertificateVariable)

  /// nil: no variable is called so.
  init?(named name: String) {
    let found: Builtin? =
      RequestVariable(rawValue: name).map(Builtin.request)
      ?? ClientVariable(rawValue: name).map(Builtin.client)
      ?? ResponseVariable(rawValue: name).map(Builtin.response)
      ?? ProcessVariable(rawValue: name).map(Builtin.process)
      ?? ProxyVariable(rawValue: name).map(Builtin.proxy)
      ?? TryVariable(rawValue: name).map(Builtin.tries)
      ?? TLSVariable(rawValue: name).map(Builtin.tls)
      ?? CertificateVariable(rawValue: name).map(Builtin.certificate)
    guard let found else { return nil }
    self = found
  }

  /// The names of all, for suggestions.
  static var names: [String] {
    RequestVariable.names + ClientVariable.names + ResponseVariable.names + ProcessVariable.names
      + ProxyVariable.names + TryVariable.names + TLSVariable.names + CertificateVariable.names
  }

  /// Whether `set` may assign it.
  var isAssignable: Bool {
    switch self {
    case .request(.args), .response(.limit_rate): true
    default: false
    }
  }
}

/// A list of variables.
protocol VariableNames: RawRepresentable<String>, CaseIterable, BitwiseCopyable {}

extension VariableNames {
  static var names: [String] { allCases.map(\.rawValue) }
}

// The rule asks for lowerCamelCase; these are names of the configuration language.

/// What was asked for, and what the location makes of it.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum RequestVariable: String, VariableNames {
  case args, query_string, is_args, uri, document_uri, request_uri, request, request_method
  case host, request_port, is_request_port, scheme, https, http2, http3, server_name
  case server_protocol
  case content_length, content_type, remote_user, request_length, request_id, request_body
  case request_body_file, document_root, realpath_root, request_filename
  case invalid_referer, secure_link, secure_link_expires, limit_conn_status, limit_req_status
  case uid_got, uid_set
}

/// The client and its connection.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum ClientVariable: String, VariableNames {
  case remote_addr, remote_port, binary_remote_addr, realip_remote_addr, realip_remote_port
  case server_addr, server_port, connection, connection_requests, connection_time, pipe
  case proxy_protocol_addr, proxy_protocol_port, proxy_protocol_server_addr
  case proxy_protocol_server_port, tcpinfo_rtt, tcpinfo_rttvar, tcpinfo_snd_cwnd
  case tcpinfo_rcv_space
}

/// What the client gets, as far as it is known.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum ResponseVariable: String, VariableNames {
  case status, bytes_sent, body_bytes_sent, request_time, request_completion, limit_rate
  case gzip_ratio
}

/// This process and its clock.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum ProcessVariable: String, VariableNames {
  case hostname, pid, nginx_version, msec, time_local, time_iso8601, date_gmt, date_local
  case connections_active, connections_reading, connections_waiting, connections_writing
}

/// What goes to an upstream, or instead of it to a cache.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum ProxyVariable: String, VariableNames {
  case proxy_host, proxy_port, proxy_add_x_forwarded_for, proxy_internal_body_length
  case upstream_cache_status, upstream_cache_etag, upstream_cache_last_modified
}

/// What is known of each try at a server: values of several tries stand in one list.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum TryVariable: String, VariableNames {
  case upstream_addr, upstream_status, upstream_connect_time, upstream_header_time
  case upstream_response_time, upstream_response_length, upstream_bytes_received
  case upstream_bytes_sent
}

/// The TLS session of the client.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum TLSVariable: String, VariableNames {
  case ssl_protocol, ssl_cipher, ssl_ciphers, ssl_curve, ssl_curves, ssl_sigalg, ssl_sigalgs
  case ssl_session_id, ssl_session_reused, ssl_server_name, ssl_early_data, ssl_alpn_protocol
  case ssl_client_verify, ssl_client_sigalg, ssl_ech_status, ssl_ech_outer_server_name
}

/// The client's certificate.
// swift-format-ignore: AlwaysUseLowerCamelCase
enum CertificateVariable: String, VariableNames {
  case ssl_client_cert, ssl_client_raw_cert, ssl_client_escaped_cert, ssl_client_s_dn
  case ssl_client_i_dn, ssl_client_s_dn_legacy, ssl_client_i_dn_legacy, ssl_client_serial
  case ssl_client_fingerprint, ssl_client_v_start, ssl_client_v_end, ssl_client_v_remain
}

// Frames of HTTP/2 with bytes changed, left out, doubled or cut off, from upstreams and from
// clients, and requests of HTTP/1 that fared the same: each connection gets an answer or an end,
// and the worker lives. The changes are the same in every run.

import Foundation
import TestSupport
import Testing

@Suite struct MangledFrameTests {
  /// Whole answers to the request on stream 1, frame by frame.
  private static let answers: [[[UInt8]]] = [
    [H2Frame.headers(1, fields("200")), H2Frame.data(1, "hello", end: true)],
    [
      H2Frame.headers(1, [(":status", "103"), ("link", "</a>")]),
      H2Frame.headers(1, fields("206") + [("content-range", "bytes 0-4/9")]),
      H2Frame.data(1, "hel"), H2Frame(.data, flags: 8, stream: 1, [3, 108, 111, 0, 0, 0]).bytes,
      H2Frame.headers(1, [("x-t", "t"), ("grpc-status", "0")], end: true),
    ],
    [
      H2Frame(.headers, stream: 1, H2Frame.block([(":status", "200")])).bytes,
      H2Frame(.continuation, flags: 4, stream: 1, H2Frame.block([("x-a", "v")])).bytes,
      H2Frame(.ping, [1, 2, 3, 4, 5, 6, 7, 8]).bytes, H2Frame.data(1, "x", end: true),
    ],
    [
      H2Frame.settings([(1, 0), (3, 1), (4, 10), (5, 20_000), (6, 100)]),
      H2Frame(.windowUpdate, stream: 1, H2Frame.number(70_000)).bytes,
      H2Frame.headers(1, [(":status", "302"), ("location", "/a")], end: true),
      H2Frame.goAway(last: 1),
    ],
    [
      H2Frame.headers(1, [(":status", "200"), ("content-length", "9")]), H2Frame.reset(1, code: 7),
    ],
    [
      H2Frame(.pushPromise, flags: 4, stream: 1, H2Frame.number(2) + [0x82, 0x84]).bytes,
      H2Frame.headers(1, [(":status", "204")], end: true),
    ],
  ]

  private static func fields(_ status: String) -> [(String, String)] {
    [
      (":status", status), ("content-type", "application/grpc"), ("x-a", "v"), ("etag", "\"t\""),
      ("set-cookie", "a=b"), ("cache-control", "max-age=60"),
    ]
  }

  /// Bytes of frames changed, or whole frames doubled, left out and put elsewhere.
  private static func mangled(_ frames: [[UInt8]], _ dice: inout Dice) -> [UInt8] {
    var frames = frames
    if dice.roll(2) == 0 { return dice.mangled(Array(frames.joined())) }
    for _ in 0...dice.roll(3) where !frames.isEmpty {
      let place = dice.roll(frames.count)
      switch dice.roll(4) {
      case 0: frames.insert(frames[place], at: dice.roll(frames.count))
      case 1: frames.remove(at: place)
      case 2: frames.swapAt(place, dice.roll(frames.count))
      // Kind, flags or stream of a frame.
      default: frames[place][3 + dice.pick([0, 1, 5])] = UInt8(dice.pick([0, 1, 2, 4, 5, 8, 9]))
      }
    }
    return Array(frames.joined())
  }

  @Test func ofUpstreamsHarmNobody() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      var dice = Dice(seed: UInt64(request.connection))
      let bytes = Self.mangled(dice.pick(Self.answers), &dice)
      let cut = dice.roll(bytes.count + 1)
      return [.bytes(Array(bytes[..<cut])), .bytes(Array(bytes[cut...])), .close]
    }
    let values =
      "$status $upstream_http_x_a $upstream_cookie_a $upstream_trailer_x_t $upstream_status "
      + "$upstream_response_length $sent_http_etag $sent_trailer_x_t $bytes_sent"
    let door = try await Portico.start(
      config: """
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          log_format all '\(values)'; access_log %%DIR%%/all.log all;
          proxy_http_version 2; proxy_read_timeout 2s; grpc_read_timeout 2s;
          proxy_next_upstream off; grpc_next_upstream off;
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on; add_header X-All "\(values)" always;
            location / { proxy_pass http://\(upstream.address); }
            location /cached { proxy_cache z; proxy_pass http://\(upstream.address); }
            location /streamed {
              proxy_buffering off; early_hints 1; proxy_pass_trailers on;
              proxy_pass http://\(upstream.address);
            }
            location /changed {
              ssi on; sub_filter o a; gzip on; gzip_min_length 1;
              proxy_pass http://\(upstream.address);
            }
            location /grpc { grpc_pass grpc://\(upstream.address); }
            location /up { return 204; }
          }
        }
        """)
    for number in 0..<400 {
      let place = ["/", "/cached/", "/streamed/", "/changed/", "/grpc/"][number % 5]
      let body = number % 3 == 0 ? "" : "body"
      let client = try door.client()
      try client.send(
        "POST \(place)\(number) HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nAccept-Encoding: gzip\r\n"
          + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)")
      let received = try client.readToEndOrReset()
      #expect(received.starts(with: Array("HTTP/1.1 ".utf8)), "\(number)")
    }
    #expect(upstream.requests.count >= 300)
    #expect(try door.get("/up").status == 204)
    try door.stop()
  }

  @Test func ofClientsHarmNobody() async throws {
    let door = try await Self.doorForClients()
    let settings = H2Frame.settings([(3, 100), (4, 65_535)])
    let window = H2Frame(.windowUpdate, H2Frame.number(100_000)).bytes
    let head = { (stream: UInt32, path: String, flags: UInt8) in
      H2Client.frame(.headers, flags: flags, stream: stream, payload: H2Client.block(path))
    }
    let conversations: [[[UInt8]]] = [
      [settings, head(1, "/static", 5), window, head(3, "/echo", 5)],
      [settings, head(1, "/echo", 4), H2Frame.data(1, "some"), H2Frame.data(1, "body", end: true)],
      [
        settings, head(1, "/echo", 4), H2Frame.headers(1, [("x-t", "t")], end: true),
        H2Frame(.ping, [1, 2, 3, 4, 5, 6, 7, 8]).bytes, H2Frame.reset(1, code: 8),
      ],
      [
        settings, H2Client.frame(.headers, flags: 1, stream: 1, payload: [0x82, 0x84]),
        H2Client.frame(.continuation, flags: 4, stream: 1, payload: [0x86, 0x41, 1, 97]),
        H2Frame(.priority, stream: 1, [0, 0, 0, 0, 7]).bytes, H2Frame.goAway(last: 0),
      ],
    ]
    for number in 0..<400 {
      var dice = Dice(seed: UInt64(number))
      let preface = Array(H2Frame.preface.utf8)
      let frames = Self.mangled(dice.pick(conversations), &dice)
      try Self.converse(door, preface + frames, &dice)
    }
    #expect(try door.get("/static").text == "whole")
    try door.stop()
  }

  @Test func requestsInBytesHarmNobody() async throws {
    let door = try await Self.doorForClients()
    let requests = [
      "GET /static HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\", W/\"y\"\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /static HTTP/1.0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n"
        + "Expect: 100-continue\r\n\r\n4;a=b\r\nbody\r\n0\r\nX-T: t\r\n\r\n",
      "GET http://a:80/echo/%41/../b?c=d#e HTTP/1.1\r\nHost: b\r\nCookie: a=b; c=\"d\"\r\n"
        + "Authorization: Basic YTpi\r\nX-Forwarded-For: 1.2.3.4, ::1\r\nConnection: close, x\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbytes",
      "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nAccept-Encoding: gzip;q=0.5, *\r\n\r\n",
    ].map { Array($0.utf8) }
    for number in 0..<400 {
      var dice = Dice(seed: UInt64(number))
      let bytes = dice.mangled(dice.pick(requests))
      try Self.converse(door, bytes, &dice)
    }
    #expect(try door.get("/static").text == "whole")
    try door.stop()
  }

  /// A door that looks at everything a request can hold.
  private static func doorForClients() async throws -> RunningPortico {
    let values =
      "$request $uri $args $host $http_cookie $cookie_a $arg_c $remote_user $request_body "
      + "$content_length $http_x_forwarded_for $request_length $status $sent_http_etag"
    let echo = try TestUpstream { .answer(body: String(decoding: $0.body, as: UTF8.self)) }
    return try await Portico.start(
      config: """
        http {
          log_format all '\(values)'; access_log %%DIR%%/all.log all;
          set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For; gzip on;
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on; add_header X-All "\(values)" always;
            client_header_timeout 5s; client_body_timeout 5s;
            location /static { alias %%DIR%%/page; }
            location /echo { proxy_pass http://%%UPSTREAM_0%%; proxy_forwarded on; }
          }
        }
        """, files: ["page": "whole"], upstreams: [echo])
  }

  /// Sends the bytes in two pieces on a connection of their own and waits for its end.
  private static func converse(
    _ door: RunningPortico, _ bytes: [UInt8], _ dice: inout Dice
  ) throws {
    let client = try door.client()
    let cut = dice.roll(bytes.count + 1)
    // The door may end the connection before it has all.
    try? client.send(Array(bytes[..<cut]))
    try? client.send(Array(bytes[cut...]))
    client.finishSending()
    _ = try client.readToEndOrReset()
  }
}

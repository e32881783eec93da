// How a connection of the Swift example becomes a WebSocket: SwiftNIO's typed upgrade, placed where
// Hummingbird sets up a connection. A request for `path` with a WebSocket handshake is upgraded and
// each message of it echoed; every other request goes to Hummingbird's router.

import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

/// A connection that speaks HTTP/1.1 and, after an upgrade, WebSocket.
struct EchoingChannel: HTTPChannelHandler {
  typealias HTTP = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
  typealias WebSocket = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

  /// What the first request of a connection made of it.
  enum Outcome: Sendable {
    case http(HTTP)
    case webSocket(WebSocket)
  }

  /// A connection whose outcome is not known yet.
  struct Value: ServerChildChannelValue {
    let outcome: EventLoopFuture<Outcome>
    let channel: any Channel
  }

  let responder: Responder
  let path: String

  // Bound: a frame longer than this ends the connection.
  static let largestFrameBytes = 1 << 20

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let upgrader = NIOTypedWebSocketServerUpgrader<Outcome>(
        maxFrameSize: Self.largestFrameBytes,
        shouldUpgrade: { channel, head in
          let isOurs = head.uri == path || head.uri.hasPrefix(path + "?")
          return channel.eventLoop.makeSucceededFuture(isOurs ? HTTPHeaders() : nil)
        },
        upgradePipelineHandler: { channel, _ in
          channel.eventLoop.makeCompletedFuture {
            .webSocket(try WebSocket(wrappingChannelSynchronously: channel))
          }
        })
      let upgrade = NIOTypedHTTPServerUpgradeConfiguration(
        upgraders: [upgrader],
        notUpgradingCompletionHandler: { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            return .http(
              try HTTP(
                wrappingChannelSynchronously: channel,
                configuration: .init(isOutboundHalfClosureEnabled: true)))
          }
        })
      let outcome = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
        configuration: .init(upgradeConfiguration: upgrade))
      return Value(outcome: outcome, channel: channel)
    }
  }

  func handle(value: Value, logger: Logger) async {
    do {
      switch try await value.outcome.get() {
      case .http(let channel): await handleHTTP(asyncChannel: channel, logger: logger)
      case .webSocket(let channel): try await echo(channel)
      }
    } catch {
      logger.debug("connection ended: \(error)")
    }
  }

  /// Sends each message back until the client closes; answers pings.
  private func echo(_ channel: WebSocket) async throws {
    try await channel.executeThenClose { inbound, outbound in
      for try await frame in inbound {
        switch frame.opcode {
        case .text, .binary, .continuation:
          try await outbound.write(
            WebSocketFrame(fin: frame.fin, opcode: frame.opcode, data: frame.unmaskedData))
        case .ping:
          try await outbound.write(
            WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData))
        case .connectionClose:
          try await outbound.write(
            WebSocketFrame(fin: true, opcode: .connectionClose, data: frame.unmaskedData))
          return
        default:
          continue
        }
      }
    }
  }
}

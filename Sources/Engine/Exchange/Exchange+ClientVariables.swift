// Variables that speak of the client and its connection.

import CLinux
import HTTP

extension Exchange {
  /// The value of a variable about the client.
  func value(of name: ClientVariable) -> Bytes? {
    switch name {
    case .remote_addr: text(of: clientAddress)
    case .remote_port: port(of: clientAddress)
    case .binary_remote_addr: binaryAddress
    case .realip_remote_addr: text(of: connection.peerAddress)
    case .realip_remote_port: port(of: connection.peerAddress)
    case .server_addr: serverAddress
    case .server_port:
      connection.localAddress.isUnix ? Bytes() : arena.decimal(Int(connection.localAddress.port))
    case .connection: arena.decimal(Int(connection.serial))
    case .connection_requests: arena.decimal(stream.requestNumber)
    case .connection_time: seconds(loop.now - connection.openedAt)
    case .pipe: connection.isPipelined ? Bytes("p") : Bytes(".")
    case .proxy_protocol_addr: address(of: connection.proxy?.source)
    case .proxy_protocol_port: port(of: connection.proxy?.source)
    case .proxy_protocol_server_addr: address(of: connection.proxy?.destination)
    case .proxy_protocol_server_port: port(of: connection.proxy?.destination)
    case .tcpinfo_rtt: tcpInfo.map { arena.decimal(Int($0.tcpi_rtt)) }
    case .tcpinfo_rttvar: tcpInfo.map { arena.decimal(Int($0.tcpi_rttvar)) }
    case .tcpinfo_snd_cwnd: tcpInfo.map { arena.decimal(Int($0.tcpi_snd_cwnd)) }
    case .tcpinfo_rcv_space: tcpInfo.map { arena.decimal(Int($0.tcpi_rcv_space)) }
    }
  }

  private var serverAddress: Bytes {
    let address = connection.localAddress
    return arena.copy(address.isUnix ? address.description : address.host)
  }

  private var binaryAddress: Bytes {
    guard let ip = clientAddress.ip else { return Bytes("unix:") }
    let room = arena.allocate(ip.byteCount)
    for index in 0..<ip.byteCount { room[index] = ip.byte(index) }
    return room.readOnly
  }

  private func address(of endpoint: IPEndpoint?) -> Bytes? {
    endpoint.map { text(of: SocketAddress(IPEndpoint($0.address))) }
  }

  private func port(of endpoint: IPEndpoint?) -> Bytes? {
    endpoint.map { arena.decimal(Int($0.port)) }
  }

  /// What the kernel knows of the connection; nil: it has none, or isn't TCP.
  private var tcpInfo: tcp_info? {
    var info = tcp_info()
    guard connection.fd >= 0, unsafe linux_tcp_info(connection.fd, &info) >= 0 else { return nil }
    return info
  }
}

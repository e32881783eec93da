// Certificates for tests of TLS, made by the openssl command in the folder of a site: NAME.crt and
// NAME.key, P-256.

import Foundation

extension Site {
  /// A certificate for the DNS name `name` that signs itself.
  func makeCertificate(_ name: String) throws {
    try openssl(
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=\(name) "
        + "-addext subjectAltName=DNS:\(name) -keyout \(folder)\(name).key -out \(folder)\(name).crt"
    )
  }

  /// A client's certificate, issued by the certificate `authority`.
  func makeCertificate(_ name: String, issuedBy authority: String) throws {
    try openssl(
      "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name) "
        + "-keyout \(folder)\(name).key -out \(folder)\(name).csr")
    try openssl(
      "x509 -req -days 30 -in \(folder)\(name).csr -out \(folder)\(name).crt -CAcreateserial "
        + "-CA \(folder)\(authority).crt -CAkey \(folder)\(authority).key")
  }

  /// A certificate that expired in 2021.
  func makeExpiredCertificate(_ name: String) throws {
    try write("ca/index.txt", "")
    try write("ca/serial", "01")
    try write(
      "ca.cnf",
      """
      [ca]
      default_ca = this
      [this]
      new_certs_dir = \(folder)ca
      database = \(folder)ca/index.txt
      serial = \(folder)ca/serial
      default_md = sha256
      policy = any
      [any]
      commonName = supplied
      """)
    try makeCertificate("issuer")
    try openssl(
      "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name) "
        + "-keyout \(folder)\(name).key -out \(folder)\(name).csr")
    try openssl(
      "ca -batch -notext -config \(folder)ca.cnf -keyfile \(folder)issuer.key "
        + "-cert \(folder)issuer.crt -in \(folder)\(name).csr -out \(folder)\(name).crt "
        + "-startdate 20200101000000Z -enddate 20210101000000Z")
  }

  private func openssl(_ words: String) throws {
    let command = ["openssl"] + words.split(separator: " ").map(String.init)
    let result = try Command.run(command, folder: folder)
    if result.code != 0 { throw OpenSSLFailed(what: result.standardError) }
  }
}

/// The openssl command refused.
struct OpenSSLFailed: Error {
  let what: String
}

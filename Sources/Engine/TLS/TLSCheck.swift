// What `-t` says about certificates and keys, in words that tell what to do.
//
// Called by whoever validates a configuration, in a library context of its own. Errors are what
// keeps a server from starting; warnings are what its clients will complain about.

import COpenSSL

/// Something that is wrong with a certificate or key.
struct TLSProblem: Equatable {
  enum Severity {
    case warning
    /// A warning too, but nothing to take a working certificate's place.
    case expired
    case error
  }

  let severity: Severity
  let message: String
  let subject: TLSSubject?
}

/// Checks of certificates.
enum TLSCheck {
  /// Everything that is wrong with `source` at `now` (seconds since 1970): errors first.
  static func certificate(
    _ source: TLSCertificateSource, now: Int64, library: TLSLibrary
  ) -> [TLSProblem] {
    var errors: [TLSProblem] = []
    var warnings: [TLSProblem] = []
    var file: TLSCertificateFile?
    var key: TLSPrivateKey?
    do throws(TLSConfigurationError) {
      file = try TLSCertificateFile(
        pem: source.certificatePEM, path: source.certificatePath, library: library)
    } catch {
      errors.append(TLSProblem(severity: .error, message: error.message, subject: error.subject))
    }
    do throws(TLSConfigurationError) {
      key = try TLSPrivateKey(source: source, library: library)
    } catch {
      errors.append(TLSProblem(severity: .error, message: error.message, subject: error.subject))
    }
    if let file {
      if let key, unsafe X509_check_private_key(file.certificates[0].handle, key.handle) != 1 {
        ERR_clear_error()
        let message = keyMismatch(source, file, key).message
        errors.append(TLSProblem(severity: .error, message: message, subject: .key))
      }
      warnings += validity(source, file, now)
      warnings += chain(source, file).map(warning)
      warnings += strength(source, file).map(warning)
    }
    return errors + warnings
  }

  private static func warning(_ message: String) -> TLSProblem {
    TLSProblem(severity: .warning, message: message, subject: .certificate)
  }

  /// The first error that making a context from `policy` meets, if any: ciphers, curves, commands.
  static func policy(_ policy: TLSServerPolicy, library: TLSLibrary) -> TLSProblem? {
    do throws(TLSConfigurationError) {
      _ = try TLSServerContext(policy: policy, library: library, ticketKeys: TLSTicketKeys())
      return nil
    } catch {
      return TLSProblem(severity: .error, message: error.message, subject: error.subject)
    }
  }

  /// A key that is not the certificate's; says so when it is that of another certificate in the
  /// file.
  static func keyMismatch(
    _ source: TLSCertificateSource, _ file: TLSCertificateFile, _ key: TLSPrivateKey
  ) -> TLSConfigurationError {
    defer { ERR_clear_error() }
    let problem =
      "key \"\(source.keyPath)\" does not belong to certificate \"\(source.certificatePath)\""
    for index in file.certificates.indices.dropFirst()
    where unsafe X509_check_private_key(file.certificates[index].handle, key.handle) == 1 {
      return TLSConfigurationError(
        "\(problem): it belongs to certificate number \(index + 1) of the file; put the "
          + "server's own certificate first", about: .key)
    }
    return TLSConfigurationError(
      "\(problem): name the key that the certificate was requested with, or the certificate for "
        + "this key", about: .key)
  }

  private static func validity(
    _ source: TLSCertificateSource, _ file: TLSCertificateFile, _ now: Int64
  ) -> [TLSProblem] {
    var warnings: [TLSProblem] = []
    for (index, certificate) in file.certificates.enumerated() {
      let what = name(source, index)
      let start = unsafe portico_time_seconds(X509_get0_notBefore(certificate.handle))
      let end = unsafe portico_time_seconds(X509_get0_notAfter(certificate.handle))
      // A date that isn't one: clients will refuse it.
      if start == .min || end == .min {
        warnings.append(warning("\(what) has a date that can't be read: renew it"))
      } else if end < now {
        let message = "\(what) expired \(span(now - end)) ago: renew it"
        warnings.append(TLSProblem(severity: .expired, message: message, subject: .certificate))
      } else if start > now {
        warnings.append(
          warning(
            "\(what) is not valid for another \(span(start - now)): is the clock of this "
              + "machine right?"))
      }
    }
    return warnings
  }

  private static func chain(
    _ source: TLSCertificateSource, _ file: TLSCertificateFile
  ) -> [String] {
    for index in file.certificates.indices.dropLast() {
      let (subject, issuer) = (file.certificates[index], file.certificates[index + 1])
      guard unsafe X509_check_issued(issuer.handle, subject.handle) != X509_V_OK else { continue }
      ERR_clear_error()
      return [
        "certificate number \(index + 2) of \"\(source.certificatePath)\" did not issue number "
          + "\(index + 1): the order must be the server's own certificate, then the CA that "
          + "issued it, and so on"
      ]
    }
    return []
  }

  private static func strength(
    _ source: TLSCertificateSource, _ file: TLSCertificateFile
  ) -> [String] {
    guard let key = unsafe X509_get0_pubkey(file.certificates[0].handle) else { return [] }
    let bits = unsafe EVP_PKEY_get_security_bits(key)
    guard bits < 112 else { return [] }
    let size = unsafe EVP_PKEY_get_bits(key)
    return [
      "the key of certificate \"\(source.certificatePath)\" is weak (\(size) bits), and clients "
        + "may refuse it: use P-256 or RSA with 2048 bits"
    ]
  }

  private static func name(_ source: TLSCertificateSource, _ index: Int) -> String {
    index == 0
      ? "certificate \"\(source.certificatePath)\""
      : "certificate number \(index + 1) of \"\(source.certificatePath)\""
  }

  private static func span(_ seconds: Int64) -> String {
    let days = seconds / 86_400
    if days >= 2 { return "\(days) days" }
    let hours = seconds / 3600
    return hours >= 2 ? "\(hours) hours" : "\(max(seconds / 60, 1)) minutes"
  }
}

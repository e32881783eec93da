// From the bytes of a field name to its token: once for each field of each head.
//
// Length and a distinguishing byte or two leave one candidate at most, which is then compared. The
// names themselves stand in `FieldName.name`; a test looks each of them up in three spellings.

extension FieldName {
  /// The token of `name`, whatever its case; `.other` if it isn't known.
  public static func lookup(_ name: Bytes) -> FieldName {
    let candidate = candidate(name)
    guard candidate != .other, name.equalsIgnoringCase(candidate.name) else { return .other }
    return candidate
  }

  /// The only known name that `name` can be, going by its length and a byte or two.
  private static func candidate(_ name: Bytes) -> FieldName {
    switch name.count {
    case 2: return .te
    case 3: return candidate3(name)
    case 4: return candidate4(name)
    case 5: return candidate5(name)
    case 6: return candidate6(name)
    case 7: return candidate7(name)
    case 8: return candidate8(name)
    case 9: return candidate9(name)
    case 10: return candidate10(name)
    case 11: return candidate11(name)
    case 12: return candidate12(name)
    case 13: return candidate13(name)
    case 14: return candidate14(name)
    case 15: return candidate15(name)
    case 16: return candidate16(name)
    case 17: return candidate17(name)
    case 18: return candidate18(name)
    case 19: return candidate19(name)
    case 20: return .secWebSocketAccept
    case 21: return .secWebSocketVersion
    case 22: return candidate22(name)
    case 23: return .contentSecurityPolicy
    case 24: return .secWebSocketExtensions
    case 25: return .strictTransportSecurity
    case 27: return .accessControlAllowOrigin
    default: return .other
    }
  }
}

extension FieldName {
  @inline(__always)
  private static func candidate3(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "a"): return .age
    case UInt8(ascii: "v"): return .via
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate4(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "h"): return .host
    case UInt8(ascii: "d"): return .date
    case UInt8(ascii: "e"): return .etag
    case UInt8(ascii: "v"): return .vary
    case UInt8(ascii: "l"): return .link
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate5(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "r"): return .range
    case UInt8(ascii: "a"): return .allow
    case UInt8(ascii: "p"): return .proxy
    case UInt8(ascii: "d"): return .depth
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate6(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "e"): return .expect
    case UInt8(ascii: "c"): return .cookie
    case UInt8(ascii: "s"):
      let isFirst = Words.lowercased(name[1]) == UInt8(ascii: "e")
      return isFirst ? .server : .status
    case UInt8(ascii: "a"): return .accept
    case UInt8(ascii: "p"): return .pragma
    case UInt8(ascii: "o"): return .origin
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate7(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "t"): return .trailer
    case UInt8(ascii: "u"): return .upgrade
    case UInt8(ascii: "r"):
      let isFirst = Words.lowercased(name[3]) == UInt8(ascii: "r")
      return isFirst ? .refresh : .referer
    case UInt8(ascii: "e"): return .expires
    case UInt8(ascii: "a"): return .altSvc
    case UInt8(ascii: "w"): return .warning
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate8(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[3]) {
    case UInt8(ascii: "a"): return .location
    case UInt8(ascii: "m"): return .ifMatch
    case UInt8(ascii: "r"): return .ifRange
    case UInt8(ascii: "o"): return .priority
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate9(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "f"): return .forwarded
    case UInt8(ascii: "x"): return .xRealIP
    case UInt8(ascii: "o"): return .overwrite
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate10(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "c"): return .connection
    case UInt8(ascii: "k"): return .keepAlive
    case UInt8(ascii: "s"): return .setCookie
    case UInt8(ascii: "u"): return .userAgent
    case UInt8(ascii: "e"): return .earlyData
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate11(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "g"): return .grpcStatus
    case UInt8(ascii: "r"): return .retryAfter
    case UInt8(ascii: "d"): return .destination
    case UInt8(ascii: "t"): return .traceparent
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate12(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[3]) {
    case UInt8(ascii: "t"): return .contentType
    case UInt8(ascii: "e"): return .xRequestID
    case UInt8(ascii: "o"): return .xPoweredBy
    case UInt8(ascii: "c"): return .grpcMessage
    case UInt8(ascii: "-"): return .maxForwards
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate13(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[6]) {
    case UInt8(ascii: "i"): return .authorization
    case UInt8(ascii: "o"): return .lastModified
    case UInt8(ascii: "e"): return .ifNoneMatch
    case UInt8(ascii: "t"): return .contentRange
    case UInt8(ascii: "-"): return .acceptRanges
    case UInt8(ascii: "c"): return .cacheControl
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate14(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "c"): return .contentLength
    case UInt8(ascii: "a"): return .acceptCharset
    case UInt8(ascii: "h"): return .http2Settings
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate15(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[8]) {
    case UInt8(ascii: "n"): return .acceptEncoding
    case UInt8(ascii: "a"): return .acceptLanguage
    case UInt8(ascii: "d"): return .xForwardedFor
    case UInt8(ascii: "e"): return .xAccelExpires
    case UInt8(ascii: "c"): return .xAccelCharset
    case UInt8(ascii: "o"): return .xFrameOptions
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate16(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[12]) {
    case UInt8(ascii: "t"):
      let isFirst = Words.lowercased(name[0]) == UInt8(ascii: "p")
      return isFirst ? .proxyConnection : .contentLocation
    case UInt8(ascii: "d"): return .contentEncoding
    case UInt8(ascii: "u"): return .contentLanguage
    case UInt8(ascii: "h"): return .xForwardedHost
    case UInt8(ascii: "p"): return .xForwardedPort
    case UInt8(ascii: "r"): return .xAccelRedirect
    case UInt8(ascii: "c"): return .wwwAuthenticate
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate17(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[3]) {
    case UInt8(ascii: "n"): return .transferEncoding
    case UInt8(ascii: "m"): return .ifModifiedSince
    case UInt8(ascii: "o"): return .xForwardedProto
    case UInt8(ascii: "c"): return .xAccelBuffering
    case UInt8(ascii: "-"): return .secWebSocketKey
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate18(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "p"): return .proxyAuthenticate
    case UInt8(ascii: "x"): return .xAccelLimitRate
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate19(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "p"): return .proxyAuthorization
    case UInt8(ascii: "i"): return .ifUnmodifiedSince
    case UInt8(ascii: "c"): return .contentDisposition
    default: return .other
    }
  }

  @inline(__always)
  private static func candidate22(_ name: Bytes) -> FieldName {
    switch Words.lowercased(name[0]) {
    case UInt8(ascii: "s"): return .secWebSocketProtocol
    case UInt8(ascii: "x"): return .xContentTypeOptions
    default: return .other
    }
  }
}

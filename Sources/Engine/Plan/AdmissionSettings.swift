// What a request has to pass between its location and its content: limits, then whom the location
// is for. `Exchange+Admission.swift` asks these in nginx's order.

import HTTP

/// The settings of a block that stand before its content.
struct AdmissionSettings {
  // --- how fast, how many ------------------------------------------------------------------------

  var requestLimits: [RequestLimit] = []
  var requestManner = LimitManner()
  var connectionLimits: [ConnectionLimit] = []
  var connectionManner = LimitManner()

  // --- for whom ----------------------------------------------------------------------------------

  /// `allow` and `deny` in the order in which they stand.
  var addressRules: [AddressRule] = []
  /// The same, compiled by `settle`; nil: there are none.
  var addresses: AddressRules?
  /// `satisfy any`: one of several is enough.
  var satisfaction = Satisfaction.all

  enum Satisfaction: String, CaseIterable { case all, any }

  /// `auth_basic`; nil: off.
  var realm: Template?
  /// `auth_basic_user_file`.
  var userFile: Template?
  /// `auth_delay`: how long whoever is refused with 401 waits for it.
  var authDelay: Milliseconds = 0

  /// `auth_request`; nil: off.
  var authorization: AuthorizationRequest?
  /// `auth_request_set`.
  var authorizationVariables: [(variable: Variable, value: Template)] = []

  // --- what variables say of links ---------------------------------------------------------------

  /// `valid_referers`.
  var referers: RefererRules?
  var secureLink = SecureLinkSettings()

  // --- what follows from the above, computed by `settle` -----------------------------------------

  /// Whether anything stands before the content at all.
  var isActive = false

  /// Computes what follows from the directives of a block.
  mutating func settle() {
    addresses = addressRules.isEmpty ? nil : AddressRules(addressRules)
    isActive =
      addresses != nil || realm != nil && userFile != nil || !requestLimits.isEmpty
      || !connectionLimits.isEmpty || authorization != nil
  }
}

/// What `auth_request` asks.
final class AuthorizationRequest {
  let uri: Bytes
  let arguments: Bytes

  init(uri: Bytes, arguments: Bytes) {
    self.uri = uri
    self.arguments = arguments
  }
}

/// `limit_except`: requests with other methods go by the settings of its block.
final class MethodException {
  /// The methods that the block does not concern.
  private let methods: Set<Method>
  let location: Location

  init(_ methods: Set<Method>, _ location: Location) {
    self.methods = methods
    self.location = location
  }

  func concerns(_ method: Method) -> Bool { !methods.contains(method) }
}

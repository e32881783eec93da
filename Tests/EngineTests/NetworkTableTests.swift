// Interval tables against asking one network after the other, which is what nginx does.

import Foundation
import TestSupport
import Testing

@testable import Engine
@testable import HTTP

private func network(_ text: String) -> IPNetwork { text.withBytes { IPNetwork($0)! } }
private func ip(_ text: String) -> IPAddress { text.withBytes { IPAddress($0)! } }

@Suite struct NetworkTableTests {
  @Test func findsTheSmallestNetwork() {
    let table = NetworkTable(
      [
        (network("10.0.0.0/8"), 1), (network("10.1.0.0/16"), 2), (network("10.1.2.3"), 3),
        (network("255.255.255.255"), 4), (network("2001:db8::/32"), 5), (network("10.1.0.0/16"), 6),
      ], .longestPrefix)
    for (address, value) in [
      ("10.0.0.0", 1), ("10.255.255.255", 1), ("9.255.255.255", -1), ("11.0.0.0", -1),
      ("10.1.0.0", 6), ("10.1.2.3", 3), ("10.1.2.4", 6), ("10.2.0.0", 1), ("255.255.255.255", 4),
      ("255.255.255.254", -1), ("2001:db8::1", 5), ("2001:db9::", -1), ("::ffff:10.1.2.3", 3),
    ] as [(String, Int32)] {
      #expect(table.find(ip(address)) == value, "\(address)")
    }
    #expect(NetworkTable([], .longestPrefix).find(ip("10.0.0.1")) == NetworkTable.none)
  }

  @Test func anAddressOfTheOtherKindIsFoundOnlyWithoutNetworksOfItsOwn() {
    let everything = NetworkTable([(network("::/0"), 1)], .smallestValue)
    #expect(everything.find(ip("::ffff:10.0.0.1")) == 1)
    #expect(everything.find(ip("10.0.0.1")) == -1)
    let both = NetworkTable([(network("::/0"), 1), (network("192.0.2.0/24"), 2)], .smallestValue)
    #expect(both.find(ip("::ffff:10.0.0.1")) == -1)
    #expect(both.find(ip("::ffff:192.0.2.9")) == 2)
  }

  @Test(arguments: 0..<40)
  func theFirstRuleDecidesAsIfAskedOneByOne(seed: UInt64) {
    var dice = Dice(seed: seed)
    var rules: [AddressRule] = []
    for _ in 0..<Int.random(in: 1...60, using: &dice) {
      let isDenied = Bool.random(using: &dice)
      switch Int.random(in: 0..<20, using: &dice) {
      case 0: rules.append(AddressRule(subject: .unix, isDenied: isDenied))
      case 1 where rules.count > 20:
        rules.append(AddressRule(subject: .everybody, isDenied: isDenied))
      default:
        // Few bits differ, so that networks lie in each other.
        let address = IPAddress(v4: 0x0a00_0000 | UInt32.random(in: 0..<64, using: &dice))
        let length = Int.random(in: 24...32, using: &dice)
        let network = IPNetwork(address, prefixLength: length)!
        rules.append(AddressRule(subject: .network(network), isDenied: isDenied))
      }
    }
    let compiled = AddressRules(rules)
    for number in 0..<70 as Range<UInt32> {
      let ip = IPAddress(v4: 0x0a00_0000 | number)
      let expected = rules.first {
        switch $0.subject {
        case .everybody: true
        case .unix: false
        case .network(let network): network.contains(ip)
        }
      }?.isDenied
      #expect(compiled.denies(SocketAddress(IPEndpoint(ip))) == expected, "\(number)")
    }
  }

  @Test func tenThousandRulesTakeNoLongerThanTen() {
    let rules = (0..<10_000 as Range<UInt32>).map {
      let network = IPNetwork(IPAddress(v4: $0 << 8), prefixLength: 24)!
      return AddressRule(subject: .network(network), isDenied: $0 % 2 == 1)
    }
    let compiled = AddressRules(rules)
    let clock = ContinuousClock()
    let last = SocketAddress(IPEndpoint(IPAddress(v4: 9_999 << 8 | 5)))
    let time = clock.measure {
      for _ in 0..<1_000 { #expect(compiled.denies(last) == true) }
    }
    // Asking 10,000 rules one by one takes 30 ms and more a time in a build without optimisation.
    #expect(time < .seconds(3))
  }
}

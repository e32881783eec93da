// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .strictMemorySafety()]

// Exclusivity is enforced statically everywhere, and dynamically in debug builds, where all tests run.
// Small functions of HTTP (a byte of a view, a copy) are inlined into Engine.
let engineSettings: [SwiftSetting] =
  strict + [
    .unsafeFlags(
      ["-enforce-exclusivity=unchecked", "-cross-module-optimization"],
      .when(configuration: .release))
  ]
let httpSettings: [SwiftSetting] =
  strict + [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]

let package = Package(
  name: "portico",
  products: [.executable(name: "portico", targets: ["Portico"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CCares", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
    .systemLibrary(
      name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "HTTP", swiftSettings: httpSettings),
    .target(name: "Configuration", swiftSettings: strict),
    .target(
      name: "Engine",
      dependencies: [
        "HTTP", "Configuration", "CLinux", "COpenSSL", "CPCRE2", "CCares", "CNGHTTP2",
        "CZlib", "CCrypt",
      ],
      swiftSettings: engineSettings),
    .executableTarget(
      name: "Portico",
      dependencies: [
        "Engine", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .target(name: "TestSupport", path: "Tests/TestSupport"),
    .testTarget(name: "HTTPTests", dependencies: ["HTTP"]),
    .testTarget(
      name: "ConfigurationTests", dependencies: ["Configuration", "TestSupport"],
      exclude: ["Goldens"]),
    .testTarget(name: "EngineTests", dependencies: ["Engine", "CNGHTTP2", "TestSupport"]),
    .systemLibrary(name: "CSpawn", path: "Tests/CSpawn"),
    .testTarget(name: "EndToEndTests", dependencies: ["CSpawn", "CZlib", "TestSupport"]),
    .testTarget(name: "TidyTests"),
  ]
)

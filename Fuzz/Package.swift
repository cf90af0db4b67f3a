// swift-tools-version:6.2
import PackageDescription

// A package of its own, so that the fuzzer's flags stay out of what ships. The sources are links to the real ones: they
// must be compiled here, with coverage counters.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .unsafeFlags(["-sanitize=fuzzer,address"]),
]

let package = Package(
    name: "fuzz",
    platforms: [.macOS(.v26)],
    targets: [
        .target(name: "CFuzzer"),
        .target(name: "MCPWire", swiftSettings: strict + [.strictMemorySafety()]),
        .executableTarget(
            name: "WireFuzz", dependencies: ["CFuzzer", "MCPWire"], swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    ],
    swiftLanguageModes: [.v6]
)

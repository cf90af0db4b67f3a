// swift-tools-version:6.2
import PackageDescription

/// The settings every target shares; see the style notes in AGENTS.md for the reasons.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
/// For targets that touch C or raw bytes: every unsafe expression is marked in the source.
let strictMemory: [SwiftSetting] = strict + [.strictMemorySafety()]

/// Nobody links against the executable, so it exports nothing and what is not used can go: 4 MB less. What it takes
/// from libraries is bound at the start, and the tables of that can then not be written to any more.
let smallExecutable: LinkerSetting = .unsafeFlags(
    ["-Xlinker", "--no-export-dynamic", "-Xlinker", "--icf=safe", "-Xlinker", "-z", "-Xlinker", "now"],
    .when(platforms: [.linux], configuration: .release))

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let webClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let toml: Target.Dependency = .product(name: "TOMLKit", package: "TOMLKit")

let package = Package(
    name: "mcp-gateway",
    platforms: [.macOS(.v26)],
    products: [
        .executable(name: "mcp-gateway", targets: ["GatewayCLI"]),
        .executable(name: "validate-config", targets: ["ValidateConfig"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        // C behind narrow headers.
        .target(name: "CWasmtime"),
        .target(name: "CHost"),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),

        // The language and the nouns.
        .target(name: "MCPWire", swiftSettings: strictMemory),
        .target(name: "GatewayCore", dependencies: ["MCPWire", nioCore], swiftSettings: strict),

        // Tools: no knowledge of any room.
        .target(name: "JSONSchema", dependencies: ["MCPWire"], swiftSettings: strictMemory),
        .target(name: "Sealing", dependencies: ["MCPWire", crypto], swiftSettings: strict),
        .target(name: "Resilience", dependencies: ["GatewayCore"], swiftSettings: strict),
        .target(name: "HostLoad", dependencies: ["GatewayCore"], swiftSettings: strictMemory),
        .target(name: "Access", dependencies: ["GatewayCore", "MCPWire", crypto], swiftSettings: strictMemory),
        .target(name: "Telemetry", dependencies: ["GatewayCore", logging], swiftSettings: strict),
        .target(
            name: "HTTPListener",
            dependencies: ["GatewayCore", "Telemetry", nioCore, nioPosix, nioHTTP1, nioSSL, nioTLS],
            swiftSettings: strict),
        .target(
            name: "Outbound", dependencies: ["GatewayCore", "CHost", nioCore, nioPosix, nioHTTP1, webClient],
            swiftSettings: strictMemory),

        // Rooms: never import each other.
        .target(
            name: "Gateway",
            dependencies: [
                "GatewayCore", "HostLoad", "JSONSchema", "MCPWire", "Resilience", "Sealing", "Telemetry", logging,
                nioCore,
            ],
            swiftSettings: strict),
        .target(
            name: "MCPFront",
            dependencies: [
                "Access", "GatewayCore", "MCPWire", "Telemetry", "HTTPListener", "Sealing", logging, nioCore,
            ],
            swiftSettings: strict),
        .target(
            name: "WasmSandbox",
            dependencies: ["CWasmtime", "CHost", "GatewayCore", "MCPWire", "Telemetry", nioCore, crypto],
            swiftSettings: strictMemory),
        .target(
            name: "Upstreams",
            dependencies: [
                "GatewayCore", "MCPWire", "Telemetry", "Outbound", logging, nioCore, nioPosix, nioHTTP1, nioTLS,
                nioSSL,
            ],
            swiftSettings: strict),
        .target(
            name: "DurableStore", dependencies: ["CSQLite", "GatewayCore", "Resilience", "Telemetry", logging, crypto],
            swiftSettings: strictMemory),
        .target(
            name: "AdminPlane",
            dependencies: ["Access", "CHost", "GatewayCore", "MCPWire", "Telemetry", "HTTPListener", nioCore],
            swiftSettings: strictMemory),

        // Wiring.
        .target(
            name: "GatewayDaemon",
            dependencies: [
                "Access", "GatewayCore", "HostLoad", "MCPWire", "Telemetry", "HTTPListener", "Outbound", "Gateway",
                "MCPFront", "WasmSandbox", "Upstreams", "DurableStore", "AdminPlane", "Resilience", "Sealing", "CHost",
                nioCore, nioPosix, logging,
                toml,
            ],
            swiftSettings: strictMemory),
        .executableTarget(
            name: "GatewayCLI",
            dependencies: ["GatewayDaemon", "WasmSandbox", "CHost", argumentParser], swiftSettings: strictMemory,
            linkerSettings: [smallExecutable]),
        .executableTarget(
            name: "ValidateConfig", dependencies: ["GatewayDaemon", argumentParser], swiftSettings: strict),

        // Tests, one target beside each room.
        .testTarget(name: "MCPWireTests", dependencies: ["MCPWire"], swiftSettings: strict),
        .testTarget(name: "JSONSchemaTests", dependencies: ["JSONSchema", "MCPWire"], swiftSettings: strict),
        .testTarget(
            name: "GatewayCoreTests", dependencies: ["GatewayCore", "GatewayTestKit", "MCPWire", nioCore],
            swiftSettings: strict),
        .testTarget(name: "ResilienceTests", dependencies: ["Resilience", "GatewayCore"], swiftSettings: strict),
        .testTarget(
            name: "HostLoadTests", dependencies: ["HostLoad", "GatewayCore", "GatewayTestKit", "Resilience"],
            swiftSettings: strict),
        .testTarget(name: "AccessTests", dependencies: ["Access", "GatewayCore", "Resilience"], swiftSettings: strict),
        .testTarget(
            name: "TelemetryTests", dependencies: ["Telemetry", "GatewayCore", logging], swiftSettings: strict),
        .testTarget(
            name: "DurableStoreTests",
            dependencies: ["DurableStore", "PowerCut", "CSQLite", "GatewayCore", "Resilience", "Telemetry", logging],
            swiftSettings: strict),
        // A recording file system beneath SQLite.
        .target(name: "PowerCut", dependencies: ["CSQLite"], path: "Tests/PowerCut"),
        .testTarget(
            name: "OutboundTests", dependencies: ["Outbound", "OutboundProbe", "CHost", nioCore, nioPosix],
            swiftSettings: strict),
        .executableTarget(
            name: "OutboundProbe", dependencies: ["Outbound", "CHost", nioCore, nioPosix], path: "Tests/OutboundProbe",
            swiftSettings: strictMemory),
        .testTarget(
            name: "WasmSandboxTests",
            dependencies: ["WasmSandbox", "CWasmtime", "GatewayCore", "MCPWire", nioCore, nioPosix, crypto],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayDaemonTests",
            dependencies: [
                "WasmSandbox", "Telemetry", "Resilience", "Gateway", "GatewayDaemon", "GatewayTestKit", "GatewayCore",
                "HTTPListener", "DurableStore",
                "MCPWire", nioCore, nioPosix,
            ],
            swiftSettings: strict),
        .target(
            name: "GatewayTestKit",
            dependencies: [
                "GatewayCore", "MCPWire", "Sealing", "Telemetry", "HTTPListener", logging, nioCore, nioPosix,
            ],
            path: "Tests/GatewayTestKit", swiftSettings: strict),
        .testTarget(
            name: "HTTPListenerTests",
            dependencies: [
                "HTTPListener", "GatewayTestKit", "GatewayCore", "Telemetry", nioCore, nioPosix, nioSSL, nioTLS,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AdminPlaneTests",
            dependencies: [
                "Access", "AdminPlane", "GatewayTestKit", "GatewayCore", "MCPWire", "Telemetry", "HTTPListener",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "HostLoad", "Gateway", "GatewayTestKit", "GatewayCore", "MCPWire", "Resilience", "Sealing", "Telemetry",
                nioCore,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "MCPFrontTests",
            dependencies: [
                "Access", "MCPFront", "GatewayTestKit", "GatewayCore", "MCPWire", "HTTPListener", "Sealing",
                "Telemetry", nioCore,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "UpstreamsTests",
            dependencies: [
                "Upstreams", "GatewayTestKit", "GatewayCore", "MCPWire", "Outbound", "Telemetry", nioCore, nioPosix,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "JourneyTests",
            dependencies: [
                "GatewayTestKit", "Gateway", "MCPFront", "Upstreams", "AdminPlane", "HTTPListener", "GatewayCore",
                "MCPWire", "Sealing", "Telemetry", "Outbound", nioCore, nioPosix,
            ],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu11
)

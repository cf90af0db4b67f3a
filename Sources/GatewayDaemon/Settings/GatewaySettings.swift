// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import HTTPListener

/// What one configuration file says, checked, with defaults filled in and paths made absolute. Two equal values mean
/// that a reload has
/// nothing to do. Sizes are bytes, counts are counts, every path is absolute.
package struct GatewaySettings: Sendable, Equatable {
    /// The file it came from.
    package var sourcePath: String
    package var server: Server
    package var admin: Admin
    package var storage: Storage
    package var cache: Cache
    package var log: Log
    package var telemetry: Telemetry
    package var limits: Limits
    package var auth: Auth
    package var wasm: Wasm
    /// In the order of the file.
    package var upstreams: [UpstreamSettings]
    /// In the order of the file.
    package var tools: [ToolSettings]

    package struct Server: Sendable, Equatable {
        package var listen: ListenAddress
        package var path: String
        package var connectionsMax: Int
        package var bodyBytesMax: Int
        package var requestTimeout: Duration
        /// In this time the whole request, head and body, has to have arrived.
        package var headerTimeout: Duration
        package var shutdownGrace: Duration
        /// As written; empty means the loopback names and the listen address.
        package var allowedHosts: [String]
        package var allowedOrigins: [String]
        /// Clients see two tools instead of all.
        package var hasCompactTools: Bool
        /// How long a reload is watched; zero for not at all.
        package var reloadProbation: Duration
        /// Addresses and networks, as written.
        package var trustedProxies: [String]
        /// nil for plain HTTP.
        package var tls: TLS?
    }

    /// What was in the files of `[server.tls]` when they were read, so that a new certificate at the same place is a
    /// change. PEM.
    package struct TLS: Sendable, Equatable {
        package var certificate: String
        package var key: SecretText
        /// Whose certificates clients may show; nil when they are not asked.
        package var clientAuthorities: String?
        package var requiresClientCertificate: Bool
    }

    package struct Admin: Sendable, Equatable {
        package var hasPublicMetrics: Bool
        package var controlSocket: String
        /// Names of users and groups whose programs on this machine are operators.
        package var local: [String]
        /// Nobody is an operator without a token but by the control socket.
        package var requiresToken: Bool
        /// A second address, for operators only.
        package var listen: ListenAddress?

        /// The socket that speaks MCP, one message a line, beside the control socket.
        package var messageSocket: String {
            let folder = controlSocket.lastIndex(of: "/").map { controlSocket[...$0] } ?? ""
            let file = controlSocket.dropFirst(folder.count)
            let stem = file.hasSuffix(".sock") ? file.dropLast(5) : file
            return folder + (stem == "control" ? "mcp.sock" : "\(stem)-mcp.sock")
        }
    }

    package struct Storage: Sendable, Equatable {
        package var directory: String
        /// Several gateways work in it, each in a folder of its own.
        package var isShared = false
        package var replicasMax = 1
        package var adoptAfter = Duration.seconds(20)
        package var retention: Duration
        package var queueItemsMax: Int
        package var queueBytesMax: Int
        /// nil for no bound of its own.
        package var queuePerCallerMax: Int?
        /// A full queue gives up its oldest call for a new one, instead of refusing that.
        package var dropsOldest: Bool
        package var resultKept: Duration
        /// Minutes since local midnight.
        package var backupMinute: Int
        package var backupsKept: Int
    }

    package struct Cache: Sendable, Equatable {
        package var bytesMax: Int
    }

    package struct Log: Sendable, Equatable {
        package enum Level: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error }
        package enum Format: String, Sendable, CaseIterable { case text, json }

        package var directory: String
        package var level: Level
        package var format: Format
        package var slowCall: Duration
        /// Rows of `request_log` written per second before sampling begins.
        package var requestRowsPerSecond: Int
        package var writesToStandardOutput: Bool
        package var rotateBytes: Int
        package var filesKept: Int
    }

    package struct Telemetry: Sendable, Equatable {
        /// As written; nil when nothing is recorded.
        package var collector: String?
        package var sampleRatio: Double
    }

    package struct Limits: Sendable, Equatable {
        package var inFlightMax: Int
        package var waitingMax: Int
        package var waitMax: Duration
        /// nil for no limit.
        package var rate: RateLimit?
        package var ratePerCaller: RateLimit?
    }

    package struct Auth: Sendable, Equatable {
        package enum Mode: String, Sendable { case none, token }

        package var mode: Mode
        package var allowsAnonymous: Bool
    }

    package struct Wasm: Sendable, Equatable {
        /// Where to look for the wasmtime library, best first; just one when the file names it.
        package var libraries: [String]
        /// The file names the library, so that its absence is worth a word.
        package var isLibraryNamed: Bool
        /// nil for one beside the database.
        package var cacheDirectory: String?
        /// Threads that run modules; 0 means one for each core.
        package var workers: Int
        package var waitingMax: Int
    }
}

/// Where to listen: a literal address, or `localhost`.
package struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    package var host: String
    /// 0 lets the system choose.
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    package var isLoopback: Bool { OriginGuard.isLoopback(host) }
    /// Every address of the machine.
    package var isEverywhere: Bool { host == "0.0.0.0" || host == "::" }
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// An MCP server behind the gateway.
package struct UpstreamSettings: Sendable, Equatable {
    package enum Transport: Sendable, Equatable {
        case http(url: String, headers: [NamedSecret])
        case stdio(command: String, arguments: [String], environment: [NamedSecret], directory: String?)
    }

    package var name: String
    /// Put before each tool name with two underscores; empty exposes the names as they are.
    package var prefix: String
    package var transport: Transport
    package var timeout: Duration
    package var breaker: BreakerSettings
    package var inFlightMax = 256
    package var waitingMax = 256
    /// How often one call is tried in all.
    package var attemptsMax = 1
    package var backoff = Duration.milliseconds(100)
    package var exposure = ExposureSettings()
}

/// When to stop calling a server that fails.
package struct BreakerSettings: Sendable, Equatable {
    /// The part of failed and slow calls at which it opens.
    package var failures: Double
    package var window: Duration
    package var callsMin: Int
    package var openFor: Duration
    /// nil when the length of a call says nothing.
    package var slowCall: Duration?
}

/// Which tools of an owner are shown, and how.
package struct ExposureSettings: Sendable, Equatable {
    package struct Edit: Sendable, Equatable {
        package var name: String?
        package var title: String?
        package var description: String?
        package var policy = ToolPolicySettings()
    }

    /// Patterns over the owner's own names.
    package var allowed: [String] = []
    package var denied: [String] = []
    /// By the owner's own name.
    package var edits: [String: Edit] = [:]
}

/// What may be done with a tool's calls besides sending them on.
package struct ToolPolicySettings: Sendable, Equatable {
    package enum Offline: String, Sendable { case fail, queue, stale }

    package var offline = Offline.fail
    /// How long a stored call is worth being sent.
    package var expires = Duration.seconds(86_400)
    package var isIdempotent = false
    package var priority = 0
    package var cache: Duration?
    package var dedupe: Duration?
    package var rate: RateLimit?
    package var inFlightMax: Int?
    package var hedge: Duration?
    /// nil without one of its own.
    package var breaker: BreakerSettings?
}

/// A WebAssembly module whose tools the gateway runs itself.
package struct ToolSettings: Sendable, Equatable {
    package struct Directory: Sendable, Equatable {
        package var guestPath: String
        package var hostPath: String
        package var isWritable: Bool
    }

    package var name: String
    package var prefix: String
    package var modulePath: String
    /// Lower-case hexadecimal.
    package var sha256: String?
    package var memoryBytesMax: Int
    package var timeout: Duration
    package var outputBytesMax: Int
    package var inFlightMax: Int?
    package var config: [NamedSecret]
    /// Names of environment variables that the module may read.
    package var allowedEnvironment: [String]
    package var directories: [Directory]
    package var allowsClock: Bool
    package var allowsRandom: Bool
    package var exposure = ExposureSettings()
}

/// A value that must not reach a log: it prints as `<redacted>`, by interpolation and by reflection too.
package struct SecretText: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable
{
    /// The text itself, for the one place that sends it.
    package let revealed: String

    package init(_ text: String) { revealed = text }

    package var description: String { "<redacted>" }
    package var debugDescription: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(reflecting: "<redacted>") }
}

/// A header, an environment variable or a line of a module's config. Sorted by name, so that a different order in the
/// file is no change.
package struct NamedSecret: Sendable, Equatable {
    package let name: String
    package let value: SecretText

    package init(name: String, value: SecretText) {
        self.name = name
        self.value = value
    }
}

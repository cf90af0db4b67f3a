// Licensed under the Apache License 2.0; see LICENSE.

/// What the sandbox as a whole is given.
package struct SandboxSettings: Sendable {
    /// Where the runtime library may lie, tried in order.
    package var libraryPaths: [String]
    /// A directory of the gateway's own for compiled modules; made with mode 0700 when it is missing.
    package var cacheDirectory: String
    /// The program that compiles, and the arguments before those of `CompileChild.run`; its name will be
    /// `mcpgw-compile`, and it must hand its arguments to `CompileChild.run`. Usually `["/proc/self/exe"]`. Empty
    /// compiles in this process, which keeps up to some hundred megabytes for a while; meant for tests and tools.
    package var compileCommand: [String]
    /// Guests that run at the same time; each has a thread of its own.
    package var workers: Int
    /// Calls that may wait for a worker; the next one is refused.
    package var waitingMax: Int
    package var compileTimeout: Duration
    package var compileMemoryBytesMax: Int
    /// Guests' memories are kept ready in a pool: a call costs a quarter of the time, and about 2 MB more stay
    /// resident. Given up by itself where address space is short.
    package var keepsMemoriesReady: Bool

    package init(
        libraryPaths: [String], cacheDirectory: String, compileCommand: [String], workers: Int = 4,
        waitingMax: Int = 256, compileTimeout: Duration = .seconds(120), compileMemoryBytesMax: Int = 2 << 30,
        keepsMemoriesReady: Bool = true
    ) {
        self.libraryPaths = libraryPaths
        self.cacheDirectory = cacheDirectory
        self.compileCommand = compileCommand
        self.workers = max(1, min(workers, 64))
        self.waitingMax = max(0, waitingMax)
        self.compileTimeout = compileTimeout
        self.compileMemoryBytesMax = compileMemoryBytesMax
        self.keepsMemoriesReady = keepsMemoriesReady
    }
}

/// What one module may reach besides its own memory. Nothing unless it is named here.
package struct ModuleGrants: Sendable, Equatable {
    package struct Directory: Sendable, Equatable {
        /// Its name inside, such as `/data`.
        package var guest: String
        package var host: String
        package var readOnly: Bool

        package init(guest: String, host: String, readOnly: Bool) {
            self.guest = guest
            self.host = host
            self.readOnly = readOnly
        }
    }

    package var environment: [String: String]
    package var directories: [Directory]
    /// Reading clocks, and sleeping within the time limit.
    package var clock: Bool
    package var random: Bool

    package init(
        environment: [String: String] = [:], directories: [Directory] = [], clock: Bool = false, random: Bool = false
    ) {
        self.environment = environment
        self.directories = directories
        self.clock = clock
        self.random = random
    }
}

/// One `[tools.*]` entry.
package struct ModuleSettings: Sendable {
    /// The label in the configuration.
    package var name: String
    /// The `.wasm` file.
    package var path: String
    /// When given, the file's bytes must have this digest, in hexadecimal.
    package var sha256: String?
    /// Limit of a guest's linear memory, and once more of the room for its input and output.
    package var memoryBytesMax: Int
    /// Longest time one call may run; waiting for a worker does not count.
    package var timeout: Duration
    package var outputBytesMax: Int
    /// What the module reads by `config_get`.
    package var config: [String: String]
    package var grants: ModuleGrants

    package init(
        name: String, path: String, sha256: String? = nil, memoryBytesMax: Int = 64 << 20,
        timeout: Duration = .seconds(2), outputBytesMax: Int = 4 << 20, config: [String: String] = [:],
        grants: ModuleGrants = ModuleGrants()
    ) {
        self.name = name
        self.path = path
        self.sha256 = sha256
        self.memoryBytesMax = memoryBytesMax
        self.timeout = timeout
        self.outputBytesMax = outputBytesMax
        self.config = config
        self.grants = grants
    }
}

/// Why a module is not there. `text` is a sentence for operators: what happened, why, what to do.
package enum SandboxError: Error, Sendable, Equatable {
    /// The runtime library is not installed or not the right one.
    case runtimeMissing(String)
    case unreadable(String)
    case wrongDigest(expected: String, found: String)
    /// Not a core WebAssembly module.
    case notAModule(String)
    case cacheUnusable(String)
    case compileFailed(String)
    /// It imports something that is not on offer here.
    case missingImport(String)
    /// It can be run, but it has no tools or does not say which.
    case noTools(String)
    case stopped

    package var text: String {
        switch self {
        case .runtimeMissing(let why):
            "The WebAssembly runtime is missing: \(why). Run `make setup`, or install wasmtime 50.0.1 beside the "
                + "gateway."
        case .unreadable(let why): why
        case .wrongDigest(let expected, let found):
            "The module's sha256 is \(found), but the configuration wants \(expected). Use the file that was approved, "
                + "or approve this one by changing sha256."
        case .notAModule(let why): why
        case .cacheUnusable(let why): "The directory for compiled modules cannot be used: \(why)."
        case .compileFailed(let why): "The module could not be compiled: \(why)."
        case .missingImport(let name):
            "The module needs the function '\(name)', which this gateway does not offer. Build it against the Extism "
                + "plug-in kit or WASI preview 1."
        case .noTools(let why): why
        case .stopped: "The sandbox has been shut down."
        }
    }
}

package enum SandboxLogLevel: Sendable {
    case debug, info, warning
}

/// Takes one log line: a constant message and its facts. Returns at once.
package typealias SandboxReport = @Sendable (SandboxLogLevel, StaticString, [(key: String, value: String)]) -> Void

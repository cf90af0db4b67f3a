// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
internal import Logging
internal import Synchronization
internal import Telemetry
internal import WasmSandbox

/// The WebAssembly modules that are loaded, by the names of the configuration.
final class ModuleShelf: Sendable {
    /// One that is loaded, and what it was loaded from.
    struct Loaded: Sendable {
        let settings: ToolSettings
        let mark: FileMark
        /// nil when it could not be loaded at the start: it is left out and reported.
        let module: WasmModule?
    }

    /// Tells a file from the one that was there before.
    struct FileMark: Sendable, Equatable {
        let inode: UInt64
        let size: Int64
        let seconds: Int
        let nanoseconds: Int

        init(of path: String) {
            var entry = stat()
            guard unsafe stat(path, &entry) == 0 else {
                (inode, size, seconds, nanoseconds) = (0, 0, 0, 0)
                return
            }
            (inode, size) = (UInt64(entry.st_ino), Int64(entry.st_size))
            (seconds, nanoseconds) = (Int(entry.st_mtim.tv_sec), Int(entry.st_mtim.tv_nsec))
        }
    }

    private let sandbox: Sandbox
    private let environment: [String: String]
    private let logs: LogFiles
    private let log: Logger
    private let held = Mutex<[String: Loaded]>([:])

    init(sandbox: Sandbox, environment: [String: String], logs: LogFiles) {
        self.sandbox = sandbox
        self.environment = environment
        self.logs = logs
        log = logs.logger(component: LogComponent.wasm)
    }

    func module(_ name: String) -> WasmModule? { held.withLock { $0[name]?.module } }

    /// At the start: one that cannot be loaded is left out and reported, the others are served.
    func loadAll(_ tools: [ToolSettings]) async {
        let loaded = await withTaskGroup(of: Loaded.self) { tasks in
            for tool in tools {
                tasks.addTask {
                    do throws(SandboxError) {
                        return try await self.load(tool) { (module) throws(SandboxError) in
                            try await self.sandbox.load(module)
                        }
                    } catch {
                        self.log.warning(
                            "a module is left out",
                            metadata: [LogKey.tool: "\(tool.name)", LogKey.detail: "\(error.text)"])
                        return Loaded(settings: tool, mark: FileMark(of: tool.modulePath), module: nil)
                    }
                }
            }
            return await tasks.reduce(into: [:]) { $0[$1.settings.name] = $1 }
        }
        held.withLock { $0 = loaded }
    }

    private func load(
        _ tool: ToolSettings, by way: (ModuleSettings) async throws(SandboxError) -> WasmModule
    ) async throws(SandboxError) -> Loaded {
        let mark = FileMark(of: tool.modulePath)
        do throws(SandboxError) {
            let module = try await way(tool.room(environment: environment))
            return Loaded(settings: tool, mark: mark, module: module)
        } catch {
            if case .wrongDigest = error {
                logs.security(
                    SecurityEvent.toolPinMismatch, facts: [("tool", tool.name), ("file", tool.modulePath)])
            }
            throw error
        }
    }

    // MARK: Reload

    /// Names of modules whose files are others than those that were loaded.
    func replaced(_ tools: [ToolSettings]) -> [String] {
        let held = held.withLock { $0 }
        return tools.filter { tool in
            held[tool.name].map { $0.settings == tool && $0.mark != FileMark(of: tool.modulePath) } ?? false
        }.map(\.name)
    }

    /// Loads what is new, and keeps what is the same. Nothing is in force before `adopt`.
    func prepare(_ tools: [ToolSettings]) async throws(ReloadFailure) -> [String: Loaded] {
        let before = held.withLock { $0 }
        var prepared: [String: Loaded] = [:]
        for tool in tools {
            let known = before[tool.name].flatMap {
                $0.settings == tool && $0.mark == FileMark(of: tool.modulePath) ? $0 : nil
            }
            if let known, known.module != nil {
                prepared[tool.name] = known
                continue
            }
            do throws(SandboxError) {
                prepared[tool.name] = try await load(tool) { (module) throws(SandboxError) in
                    try await sandbox.loadAside(module)
                }
            } catch {
                // One that was left out before is no reason to leave the rest of the file undone.
                guard let known else { throw ReloadFailure(words: "tools.\(tool.name): \(error.text)") }
                prepared[tool.name] = known
            }
        }
        return prepared
    }

    func adopt(_ prepared: [String: Loaded]) {
        let gone = held.withLock { held in
            defer { held = prepared }
            return held.keys.filter { prepared[$0] == nil }
        }
        for name in gone { sandbox.forget(name) }
        for case let module? in prepared.values.map(\.module) { sandbox.note(module) }
    }
}

/// Why a part of a reload cannot be done.
struct ReloadFailure: Error {
    var words: String
}

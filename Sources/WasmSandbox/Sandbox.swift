// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Loads modules and runs their tools. One per gateway.
///
/// Nothing is loaded before the first module: a gateway without WebAssembly tools pays neither memory nor threads for
/// it. A missing library never keeps the gateway from starting; it shows in `components()` and in what `load` throws.
package final class Sandbox: StatusSource {
    private struct State {
        var runtime: Runtime?
        var loader: WorkerPool?
        var isStopped = false
        var loaded: [String: Int] = [:]
        var failures: [String: String] = [:]
    }

    /// What exists once the library is loaded.
    private struct Runtime {
        let engine: Engine
        /// The path of the library that was loaded.
        let library: String
        let pool: WorkerPool
    }

    private let settings: SandboxSettings
    private let time: any TimeSource
    private let report: SandboxReport
    private let state = Mutex(State())

    package init(settings: SandboxSettings, time: any TimeSource, report: @escaping SandboxReport) {
        self.settings = settings
        self.time = time
        self.report = report
    }

    deinit { shutdown() }

    /// Checks the file's digest, compiles it or finds it compiled, links it and asks it for its tools. Takes seconds
    /// for a large module that is new, some milliseconds for a known one; modules are loaded one after the other. A
    /// failure is remembered for `components()` until a module of the same name is loaded.
    package func load(_ module: ModuleSettings) async throws(SandboxError) -> WasmModule {
        do throws(SandboxError) {
            let loaded = try await loadAside(module)
            note(loaded)
            return loaded
        } catch {
            let isStopped = state.withLock { state in
                if !state.isStopped { state.failures[module.name] = error.text }
                state.loaded[module.name] = nil
                return state.isStopped
            }
            if !isStopped {
                report(
                    .warning, "a tool module could not be loaded",
                    [("tool_module", module.name), ("reason", error.text)])
            }
            throw error
        }
    }

    /// The same, and nobody is told: for one that may not come into use.
    package func loadAside(_ module: ModuleSettings) async throws(SandboxError) -> WasmModule {
        let (guest, pool) = try await prepare(module)
        return try await WasmModule(guest: guest, pool: pool, time: time, report: report)
    }

    /// A module is in use from here on.
    package func note(_ module: WasmModule) {
        state.withLock { state in
            state.loaded[module.name] = module.offers().tools.count
            state.failures[module.name] = nil
        }
    }

    /// Forgets a module that the configuration no longer has. Calls under way finish.
    package func forget(_ name: String) {
        state.withLock { state in
            state.loaded[name] = nil
            state.failures[name] = nil
        }
    }

    /// Gives buffers of idle workers back.
    package func releaseMemory() {
        let (pool, loader) = state.withLock { ($0.runtime?.pool, $0.loader) }
        pool?.trim()
        loader?.trim()
    }

    /// Refuses new work, ends what runs within some milliseconds, ends the threads. Returns at once; may be called
    /// again.
    package func shutdown() {
        let (pool, loader) = state.withLock { state in
            state.isStopped = true
            return (state.runtime?.pool, state.loader)
        }
        pool?.stop()
        loader?.stop()
    }

    /// Guests that run and calls that wait for a worker, right now.
    package func usage() -> (running: Int, waiting: Int) {
        let pool = state.withLock { $0.runtime?.pool }
        return pool?.usage() ?? (0, 0)
    }

    package func components() -> [ComponentStatus] {
        let (loaded, failures) = state.withLock { ($0.loaded, $0.failures) }
        let now = time.wallMilliseconds()
        func status(_ level: ComponentStatus.Level, _ detail: String) -> [ComponentStatus] {
            [ComponentStatus(name: "wasm", status: level, detail: detail, checkedAt: now)]
        }
        let tools = loaded.values.reduce(0, +)
        let summary =
            "\(loaded.count) module\(loaded.count == 1 ? "" : "s") with \(tools) tool\(tools == 1 ? "" : "s")"
        if !failures.isEmpty {
            let reasons = failures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            return status(.degraded, "\(summary); not loaded: \(reasons.joined(separator: " "))")
        }
        if loaded.isEmpty, !settings.libraryPaths.contains(where: Files.exists) {
            let places = settings.libraryPaths.joined(separator: ", ")
            return status(.degraded, SandboxError.runtimeMissing("there is no library at \(places)").text)
        }
        return status(.healthy, summary)
    }

    // MARK: Loading

    private func prepare(_ module: ModuleSettings) async throws(SandboxError) -> (GuestModule, WorkerPool) {
        let loader = try loaderPool()
        let flag = CancelFlag()
        // A load is bounded by the limits of its steps; the line before it is bounded by those of the loads in front.
        let deadline = Deadline(Moment(nanoseconds: .max))
        let result: Result<(GuestModule, WorkerPool), SandboxError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loader.submit(
                    Job(deadline: deadline, flag: flag) { _ in
                        let result = self.open(module, flag: flag)
                        return { continuation.resume(returning: result) }
                    } refuse: { _ in
                        continuation.resume(returning: .failure(.stopped))
                    })
            }
        } onCancel: {
            loader.cancel(flag)
        }
        return try result.get()
    }

    private func loaderPool() throws(SandboxError) -> WorkerPool {
        try state.withLock { state throws(SandboxError) in
            if state.isStopped { throw .stopped }
            if let loader = state.loader { return loader }
            let loader = try WorkerPool(name: "wasm-load", threads: 1, waitingMax: 1_024, time: time, beat: nil)
            state.loader = loader
            return loader
        }
    }

    /// On the loader's thread, so that there is only ever one that makes the engine.
    private func open(_ module: ModuleSettings, flag: CancelFlag) -> Result<(GuestModule, WorkerPool), SandboxError> {
        do throws(SandboxError) {
            let runtime = try startRuntime()
            let digest = try check(module)
            let cache = CompileCache(
                directory: settings.cacheDirectory, library: runtime.library, profile: runtime.engine.profile,
                settings: settings, report: report)
            let guest = try link(module, digest, runtime.engine, cache, flag)
            return .success((guest, runtime.pool))
        } catch {
            return .failure(error)
        }
    }

    private func link(
        _ module: ModuleSettings, _ digest: String, _ engine: Engine, _ cache: CompileCache, _ flag: CancelFlag
    ) throws(SandboxError) -> GuestModule {
        let (path, isNew) = try cache.compiled(module.path, digest: digest, engine: engine, flag: flag)
        let raw: OpaquePointer
        do throws(SandboxError) {
            unsafe raw = try GuestModule.map(path, engine: engine)
        } catch {
            guard !isNew else { throw error }
            // The bytes are those we wrote, and still the library will not have them: compile once more.
            cache.quarantine(path)
            let (path, _) = try cache.compiled(module.path, digest: digest, engine: engine, flag: flag)
            unsafe raw = try GuestModule.map(path, engine: engine)
        }
        return unsafe try GuestModule(engine: engine, module: raw, settings: module)
    }

    private func startRuntime() throws(SandboxError) -> Runtime {
        let known = state.withLock { $0.runtime }
        if let known { return known }
        let library = try Engine.loadLibrary(settings.libraryPaths)
        let profile = Engine.bestProfile(slots: settings.workers)
        let engine = Engine(profile: profile, slots: settings.keepsMemoriesReady ? settings.workers : nil)
        let pool = try WorkerPool(
            name: "wasm", threads: settings.workers, waitingMax: settings.waitingMax, time: time, beat: engine.tick)
        let runtime = Runtime(engine: engine, library: library, pool: pool)
        let isStopped = state.withLock { state in
            state.runtime = runtime
            return state.isStopped
        }
        if isStopped {
            pool.stop()
            throw .stopped
        }
        return runtime
    }

    /// The file is the approved one and has the form of a module. Returns its digest.
    private func check(_ module: ModuleSettings) throws(SandboxError) -> String {
        let digest: Files.Digest
        do { digest = try Files.digest(module.path, bytesMax: CompileCache.moduleBytesMax) } catch {
            throw .unreadable("The module's file \(error.text).")
        }
        if let wanted = module.sha256, wanted.lowercased() != digest.hex {
            throw .wrongDigest(expected: wanted.lowercased(), found: digest.hex)
        }
        let magic: [UInt8] = [0, 0x61, 0x73, 0x6d]
        guard digest.head.count == 8, Array(digest.head[..<4]) == magic else {
            throw .notAModule("The file \(module.path) is no WebAssembly.")
        }
        guard Array(digest.head[4...]) == [1, 0, 0, 0] else {
            throw .notAModule(
                "The file \(module.path) is a WebAssembly component; only core modules with the hyper-mcp interface "
                    + "are served yet.")
        }
        return digest.hex
    }
}

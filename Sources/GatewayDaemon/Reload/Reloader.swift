// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import HTTPListener
internal import Logging
internal import MCPFront
internal import Resilience
internal import Synchronization
internal import Telemetry
internal import Upstreams

/// Reads the configuration again while the gateway serves: checks all of it, makes what is new, and only then swaps.
///
/// Calls that run end as they began. Upstreams and modules that the file does not change keep their connections,
/// processes and instances. When a change makes things clearly worse, it is taken back.
final class Reloader: ReloadOrders, StatusSource {
    /// Where the configuration comes from.
    struct Source: Sendable {
        let environment: [String: String]
        let installation: Installation
        /// Standard output belongs to a client.
        let isQuiet: Bool
    }

    /// False where one client is served over stdin and stdout alone.
    var listens: Bool { !source.isQuiet }

    private struct State {
        /// In force.
        var current: GatewaySettings
        var waiting: [String] = []
        /// What was in force before a reload that is on probation.
        var former: (settings: GatewaySettings, probation: Probation)?
        /// What operators should know until the next reload that works.
        var trouble: String?
        var since: Int64
        var certificateExpires: Int?
        /// The last that was asked for; the next waits for it.
        var last: Task<Void, Never>?
        var serving: Serving?
    }

    /// What exists only while the gateway serves.
    private struct Serving {
        let assembly: Assembly
        let listener: HTTPListener?
        let admin: HTTPListener?
        let control: HTTPListener
    }

    private let source: Source
    private let state: Mutex<State>
    private let modules: ModuleShelf
    private let time: any TimeSource
    private let log: Logger
    private let journal: any Journal
    /// Mistakes of a file that are written to the log.
    private static let problemsLogged = 20

    init(
        _ settings: GatewaySettings, source: Source, modules: ModuleShelf, journal: any Journal, time: any TimeSource,
        log: Logger
    ) {
        self.source = source
        self.modules = modules
        self.journal = journal
        self.time = time
        self.log = log
        state = Mutex(
            State(
                current: settings, since: time.wallMilliseconds(),
                certificateExpires: Self.certificateExpires(settings)))
    }

    /// In force now.
    var settings: GatewaySettings { state.withLock { $0.current } }

    /// Until when the listener's certificate is valid, in seconds since 1970; nil without TLS.
    var certificateExpires: Int? { state.withLock { $0.certificateExpires } }

    private static func certificateExpires(_ settings: GatewaySettings) -> Int? {
        // What is in force has been checked.
        (try? settings.server.tls?.room())?.validUntil
    }

    /// From here on there is something to swap in.
    func begin(_ assembly: Assembly, listener: HTTPListener?, admin: HTTPListener?, control: HTTPListener) {
        state.withLock {
            $0.serving = Serving(assembly: assembly, listener: listener, admin: admin, control: control)
        }
    }

    // MARK: Reload

    func reload(by who: String) async throws(ReloadRefusal) -> ReloadReport {
        let result = await inTurn { await self.read(by: who) }
        return try result.get()
    }

    /// One after the other, in the order in which they were asked for.
    private func inTurn<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) async -> Value {
        let task = state.withLock { state in
            let before = state.last
            let task = Task {
                await before?.value
                return await body()
            }
            state.last = Task { _ = await task.value }
            return task
        }
        return await task.value
    }

    private func read(by who: String) async -> Result<ReloadReport, ReloadRefusal> {
        guard let serving = state.withLock({ $0.serving }) else {
            return .failure(ReloadRefusal(words: "The gateway is only just starting; try again in a moment."))
        }
        let path = settings.sourcePath
        let outcome = SettingsLoader.load(
            path: path, strict: true, environment: source.environment, installation: source.installation)
        guard var new = outcome.settings else {
            let problems = outcome.problems.map(\.description)
            return .failure(refused(problems.count == 1 ? "one mistake" : "\(problems.count) mistakes", problems, path))
        }
        if source.isQuiet { new.log.writesToStandardOutput = false }
        let difference = SettingsDifference(from: settings, to: new)
        do throws(ReloadFailure) {
            try Self.check(difference.settings)
            let replaced = modules.replaced(new.tools).map { "tools.\($0) (its file)" }
            let report = ReloadReport(
                changed: difference.changed + replaced, waiting: difference.waiting,
                probation: difference.changed.isEmpty && replaced.isEmpty ? nil : watched(new))
            let former = settings
            if report.changed.isEmpty {
                // Who is in a group of admin.local may have changed all the same.
                await open(former, try Self.entrance(former), serving)
            } else {
                try await put(difference.settings, serving)
            }
            done(report, former, serving, by: who)
            return .success(report)
        } catch {
            return .failure(refused(error.words, [], path))
        }
    }

    /// What is right in the file may be wrong beside what only a restart changes.
    private static func check(_ settings: GatewaySettings) throws(ReloadFailure) {
        guard settings.auth.mode == .none, !settings.auth.allowsAnonymous, !settings.server.listen.isLoopback else {
            return
        }
        throw ReloadFailure(
            words: "auth.mode \"none\" would let everybody in who reaches \(settings.server.listen), where the gateway "
                + "listens until a restart; restart it instead")
    }

    private func watched(_ settings: GatewaySettings) -> Duration? {
        settings.server.reloadProbation > .zero ? settings.server.reloadProbation : nil
    }

    private func refused(_ why: String, _ problems: [String], _ path: String) -> ReloadRefusal {
        let words = "The configuration is as it was: \(path) was refused (\(why))."
        log.error("the configuration was refused, nothing was changed", metadata: [LogKey.detail: "\(why)"])
        for problem in problems.prefix(Self.problemsLogged) { log.error("\(LogText.escaped(problem, bytesMax: 500))") }
        note(words + (problems.first.map { " First: \($0)" } ?? ""), type: "configuration_refused")
        state.withLock { $0.trouble = "the file was refused: \(why)" }
        return ReloadRefusal(words: words, problems: problems)
    }

    private func done(_ report: ReloadReport, _ former: GatewaySettings, _ serving: Serving, by who: String) {
        log.notice("configuration read again", metadata: [LogKey.detail: "\(report.quietWords)", "by": "\(who)"])
        let probation = report.probation.map { serving.assembly.pipeline.traffic.beginProbation(for: $0) }
        state.withLock { state in
            state.waiting = report.waiting
            state.trouble = nil
            guard !report.changed.isEmpty else { return }
            state.since = time.wallMilliseconds()
            // A change of a change that is on probation itself: what was good is what was there before both.
            if let earlier = state.former, earlier.settings != state.current {
                state.former = probation.map { (earlier.settings, earlier.probation.extended(to: $0.ends)) }
            } else {
                state.former = state.former == nil ? probation.map { (former, $0) } : nil
            }
        }
    }

    /// Everything that can fail first; after that nothing does.
    private func put(_ new: GatewaySettings, _ serving: Serving) async throws(ReloadFailure) {
        let assembly = serving.assembly
        let old = settings
        let plan: UpstreamPool.Plan
        do throws(UpstreamSettingsError) {
            plan = try assembly.upstreams.plan(new.upstreams.map { $0.room(base: source.environment) })
        } catch {
            throw ReloadFailure(words: error.words)
        }
        let entrance = try Self.entrance(new)
        let prepared = try await modules.prepare(new.tools)
        do { try assembly.logs.change(new.log.files) } catch { throw ReloadFailure(words: error.text) }

        await assembly.store.change(new.store)
        modules.adopt(prepared)
        assembly.upstreams.adopt(plan)
        assembly.catalogue.change(
            to: Assembly.entries(new, modules, assembly.upstreams), isCompact: new.server.hasCompactTools)
        let names = Set(new.upstreams.map(\.name))
        for gone in old.upstreams where !names.contains(gone.name) { assembly.pipeline.forget(owner: gone.name) }
        let expires = Self.certificateExpires(new)
        state.withLock { ($0.current, $0.certificateExpires) = (new, expires) }
        assembly.pipeline.change(to: new.pipeline)
        assembly.callers.change(to: new.auth.door)
        assembly.tracing.change(to: new.telemetry)
        await open(new, entrance, serving)
    }

    private static func entrance(_ settings: GatewaySettings) throws(ReloadFailure) -> HTTPEntrance {
        do throws(ServerTLS.Fault) { return try settings.entrance() } catch {
            throw ReloadFailure(words: "server.tls: a file \(error.words)")
        }
    }

    /// New requests come in by these settings.
    private func open(_ new: GatewaySettings, _ entrance: HTTPEntrance, _ serving: Serving) async {
        let assembly = serving.assembly
        await serving.listener?.change(
            router: assembly.router(new), limits: new.listenerLimits, guardian: new.guardian, entrance: entrance)
        await serving.admin?.change(
            router: assembly.adminRouter(new), limits: new.listenerLimits,
            guardian: new.admin.listen.map { new.guardian(of: $0) }, entrance: HTTPEntrance(proxies: new.proxies))
        await serving.control.change(
            router: assembly.controlRouter(new), limits: new.listenerLimits, guardian: nil)
    }

    // MARK: Probation

    /// Looks whether the last reload has made things worse. To be called every second or so.
    func watch() async {
        guard
            let (former, serving) = state.withLock({ state in
                state.former.flatMap { former in
                    state.serving.map { (former, $0) }
                }
            })
        else { return }
        switch serving.assembly.pipeline.traffic.judge(former.probation) {
        case .open: break
        case .passed: state.withLock { $0.former = nil }
        case .worse(let words): await inTurn { await self.takeBack(former.settings, words, serving) }
        }
    }

    private func takeBack(_ former: GatewaySettings, _ why: String, _ serving: Serving) async {
        // Somebody has read the file again meanwhile: that one is judged by itself.
        guard state.withLock({ $0.former?.settings == former }) else { return }
        state.withLock { $0.former = nil }
        do throws(ReloadFailure) {
            try await put(former, serving)
            let words = "the last reload was taken back: \(why)"
            state.withLock { state in
                (state.trouble, state.since) = (words, time.wallMilliseconds())
            }
            log.error("\(words); the file is not what is in force: correct it and reload")
            note(words, type: "reload_taken_back")
        } catch {
            state.withLock {
                $0.trouble = "the last reload should be taken back (\(why)) and cannot be: \(error.words)"
            }
            log.error(
                "a reload that made things worse cannot be taken back", metadata: [LogKey.detail: "\(error.words)"])
        }
    }

    private func note(_ words: String, type: String) {
        journal.record(
            ErrorRecord(
                wallMilliseconds: time.wallMilliseconds(), errorType: type, message: words,
                component: LogComponent.daemon))
    }

    // MARK: Health

    func components() -> [ComponentStatus] {
        let now = time.wallMilliseconds()
        return state.withLock { state in
            let waits = state.waiting.isEmpty ? "" : "; waits for a restart: \(state.waiting.joined(separator: ", "))"
            let watched = state.former == nil ? "" : "; the last reload is being watched"
            return [
                ComponentStatus(
                    name: "configuration", status: state.trouble == nil ? .healthy : .degraded,
                    detail: state.trouble.map { $0 + ", what was in force before goes on" + waits }
                        ?? ("in force" + watched + waits),
                    checkedAt: now, since: state.since)
            ]
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HostLoad
import MCPWire
import NIOCore
import Resilience
import Sealing
import Synchronization
import Telemetry

@testable import Gateway

/// A pipeline whose limits, memory and archive of overrides are a test's own.
struct TrafficBench: Sendable {
    let time: ManualTime
    let journal = RecordingJournal()
    let metrics = MetricsRegistry()
    let store: MemoryStore
    let catalogue: Catalogue
    let pipeline: Pipeline
    let memory = Shortage()

    /// How short memory is, as a test says.
    final class Shortage: Sendable {
        private let held = Mutex(Pressure.none)
        var now: Pressure { held.withLock { $0 } }
        func become(_ pressure: Pressure) { held.withLock { $0 = pressure } }
    }

    /// - Parameters:
    ///   - store: keeps the overrides; one that is used again is a gateway that was started again.
    ///   - runs: the clock goes on by itself as well.
    init(
        _ entries: [CatalogueEntry], store: MemoryStore = MemoryStore(), runs: Bool = false, isCompact: Bool = false,
        _ change: (inout PipelineSettings) -> Void = { _ in }
    ) throws {
        let time = ManualTime(runs: runs)
        let identity = ServerIdentity(version: "1", instructions: "i")
        let logs = try silentLogs(time)
        self.time = time
        self.store = store
        catalogue = Catalogue(
            entries: entries, identity: identity, isCompact: isCompact, time: time, metrics: metrics, logs: logs)
        pipeline = Pipeline(
            settings: Self.settings(change), catalogue: catalogue, identity: identity, keys: .forTests, calls: store,
            cache: store, journal: journal, archive: store, pressure: { [memory] in memory.now }, time: time,
            metrics: metrics, logs: logs)
    }

    static func settings(_ change: (inout PipelineSettings) -> Void = { _ in }) -> PipelineSettings {
        var settings = PipelineSettings(inFlightMax: 100, timeout: .seconds(60), slowCall: .seconds(60))
        change(&settings)
        return settings
    }

    // MARK: Asking

    /// - Parameter params: members of `params` without braces.
    func message(
        _ method: String, _ params: String = "", _ revision: Revision = .modern, caller: String? = nil,
        address: String = "local", id: String? = "1"
    ) throws -> InboundMessage {
        let number = id.map { #""id":\#($0),"# } ?? ""
        var inbound = try InboundMessage.of(
            #"{"jsonrpc":"2.0",\#(number)"method":"\#(method)","params":{\#(params)}}"#, revision)
        inbound.arrivedAt = time.now()
        inbound.address = address
        if let caller { inbound.caller = Caller(name: caller) }
        return inbound
    }

    func ask(_ inbound: InboundMessage) async throws -> Reply {
        let pipeline = pipeline
        return try await soon("the reply to \(inbound.message.method.name)") { await pipeline.handle(inbound) }
    }

    func ask(_ method: String, _ params: String = "", _ revision: Revision = .modern) async throws -> Reply {
        try await ask(try message(method, params, revision))
    }

    /// Calls a tool without arguments.
    func call(_ tool: String = "up__do", _ revision: Revision = .modern) async throws -> Reply {
        try await ask(try message("tools/call", #""name":"\#(tool)","arguments":{}"#, revision))
    }

    /// Begins a call that a test looks at later.
    func begin(_ tool: String = "up__do", _ revision: Revision = .modern) throws -> Task<Reply, Never> {
        let (pipeline, inbound) = (pipeline, try message("tools/call", #""name":"\#(tool)","arguments":{}"#, revision))
        return Task { await pipeline.handle(inbound) }
    }

    // MARK: Looking

    var tools: [String] {
        get async throws {
            try await ask("tools/list").json?["result"]?["tools"]?.arrayValue?.compactMap { $0["name"]?.stringValue }
                ?? []
        }
    }

    /// The number behind a name in the metrics; nil when there is no such line.
    func metric(_ name: String) -> String? {
        String(decoding: metrics.render(), as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix(name + " ") }.map { String($0.dropFirst(name.count + 1)) }
    }

    var waiting: String? { metric("mcp_calls_waiting") }
    var statuses: [String] { journal.calls.map(\.status) }
}

/// An owner whose calls wait until a test lets them go on, fail as it says, and are counted.
final class GatedOwner: Sendable {
    private struct State {
        var failures: [CallFailure] = []
        var failure: CallFailure?
        var gate: Gate?
        var calls: [String] = []
        var running = 0
        var runningMost = 0
    }

    private let state = Mutex(State())

    /// From here on every call fails so; nil for none.
    func fail(_ failure: CallFailure?) { state.withLock { $0.failure = failure } }
    /// The next calls fail so, one after the other.
    func failNext(_ failures: [CallFailure]) { state.withLock { $0.failures = failures } }
    /// From here on calls wait for this.
    func hold(_ gate: Gate?) { state.withLock { $0.gate = gate } }

    var count: Int { state.withLock { $0.calls.count } }
    /// The tools that were called, by their own names.
    var calls: [String] { state.withLock { $0.calls } }
    var running: Int { state.withLock { $0.running } }
    var runningMost: Int { state.withLock { $0.runningMost } }

    static let answer = #"{"content":[{"type":"text","text":"done"}]}"#

    func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer {
        let (gate, failure) = state.withLock { state in
            state.calls.append(call.target)
            state.running += 1
            state.runningMost = max(state.runningMost, state.running)
            let failure = state.failures.isEmpty ? state.failure : state.failures.removeFirst()
            return (state.gate, failure)
        }
        await gate?.pass()
        state.withLock { $0.running -= 1 }
        if let failure { throw failure }
        return try .of(Self.answer)
    }

    func backend(_ name: String = "server", _ tools: [String] = ["do"]) -> ScriptedBackend {
        ScriptedBackend(name: name, tools: tools.map { .plain($0) }) { call async throws(CallFailure) -> CallAnswer in
            try await self.call(call)
        }
    }
}

extension CatalogueEntry {
    /// - Parameter policies: by the tools' own names.
    static func of(
        _ backend: any Backend, prefix: String = "up", policies: [String: ToolPolicy] = [:],
        _ change: (inout TrafficSettings) -> Void = { _ in }
    ) -> CatalogueEntry {
        var traffic = TrafficSettings()
        change(&traffic)
        return CatalogueEntry(
            backend: backend, prefix: prefix, exposure: Exposure(edits: policies.mapValues { ToolEdit(policy: $0) }),
            traffic: traffic)
    }
}

extension ToolPolicy {
    static func with(_ change: (inout ToolPolicy) -> Void) -> ToolPolicy {
        var policy = ToolPolicy()
        change(&policy)
        return policy
    }
}

extension Breaker.Settings {
    /// Opens upon the first failure.
    static let touchy = Breaker.Settings(minimumCalls: 1)
}

extension Reply {
    /// The words of a refusal, in whichever form it came.
    var refusal: String? { json?["error"]?["message"]?.stringValue ?? json?.words }
    var isToolError: Bool { json?["result"]?["isError"]?.boolValue ?? false }
    var isDone: Bool { json?.words == "done" && !isToolError }
}

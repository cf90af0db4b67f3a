// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Resilience
import Sealing
import Telemetry

@testable import Gateway

/// A whole pipeline in front of owners of a test's own.
struct PipelineBench: Sendable {
    let time = ManualTime()
    let journal = RecordingJournal()
    let metrics = MetricsRegistry()
    let store = MemoryStore()
    let catalogue: Catalogue
    let pipeline: Pipeline

    init(
        _ entries: [CatalogueEntry], isCompact: Bool = false, timeout: Duration = .seconds(5), inFlightMax: Int = 100
    ) throws {
        let identity = ServerIdentity(version: "1", instructions: "i")
        let logs = try silentLogs(time)
        catalogue = Catalogue(
            entries: entries, identity: identity, isCompact: isCompact, time: time, metrics: metrics, logs: logs)
        pipeline = Pipeline(
            settings: PipelineSettings(inFlightMax: inFlightMax, timeout: timeout, slowCall: .seconds(1)),
            catalogue: catalogue, identity: identity, keys: .forTests, calls: store, cache: store, journal: journal,
            archive: store,
            time: time, metrics: metrics,
            logs: logs)
    }

    /// One owner `up` whose tool `do` has a policy.
    init(_ backend: any Backend, policy: ToolPolicy, breaker: Breaker.Settings? = nil) throws {
        let exposure = Exposure(edits: ["do": ToolEdit(policy: policy)])
        try self.init([CatalogueEntry(backend: backend, prefix: "up", exposure: exposure, breaker: breaker)])
    }

    init(_ backend: any Backend, prefix: String = "up", isCompact: Bool = false) throws {
        try self.init([CatalogueEntry(backend: backend, prefix: prefix)], isCompact: isCompact)
    }

    /// Who asks.
    struct Client: Sendable {
        var revision = Revision.modern
        var capabilities: ClientCapabilities = []
        var stream: ScriptedStream?
        var session: ScriptedSession?
        var caller = Caller.anonymous
        var headers: [(name: String, value: String)]?

        static func modern(_ capabilities: ClientCapabilities = [], _ stream: ScriptedStream? = nil) -> Client {
            Client(capabilities: capabilities, stream: stream)
        }

        static func legacy(
            _ revision: Revision = .v2025_11_25, _ capabilities: ClientCapabilities = [],
            _ stream: ScriptedStream? = nil, session: ScriptedSession? = nil
        ) -> Client {
            Client(revision: revision, capabilities: capabilities, stream: stream, session: session)
        }
    }

    /// - Parameter params: members of `params` without braces.
    func message(_ method: String, _ params: String, _ client: Client, id: String = "1") throws -> InboundMessage {
        var inbound = try InboundMessage.of(
            #"{"jsonrpc":"2.0","id":\#(id),"method":"\#(method)","params":{\#(params)}}"#, client.revision)
        inbound.capabilities = client.capabilities
        inbound.stream = client.stream
        inbound.session = client.session
        inbound.caller = client.caller
        inbound.parameterHeaders = client.headers
        inbound.isCancelledByLeaving = client.headers != nil
        return inbound
    }

    func ask(_ method: String, _ params: String, _ client: Client, id: String = "1") async throws -> JSONValue? {
        let (pipeline, message) = (pipeline, try message(method, params, client, id: id))
        return try await soon("the reply to \(method)") { await pipeline.handle(message) }.json
    }

    /// Calls the tool `do` of the owner `up`.
    func call(
        _ client: Client, arguments: String = "{}", more: String = ""
    ) async throws -> JSONValue? {
        try await ask("tools/call", #""name":"up__do","arguments":\#(arguments)\#(more)"#, client)
    }

    /// Calls it again, with answers and the state that came with the questions.
    func retry(
        _ client: Client, _ asked: JSONValue?, _ responses: String?, arguments: String = "{}"
    ) async throws -> JSONValue? {
        var more = responses.map { #","inputResponses":\#($0)"# } ?? ""
        if let state = asked?["result"]?["requestState"] { more += #","requestState":\#(state.text)"# }
        return try await call(client, arguments: arguments, more: more)
    }

    var parked: String {
        String(decoding: metrics.render(), as: UTF8.self).split(separator: "\n").map(String.init)
            .first { $0.hasPrefix("mcp_calls_parked ") } ?? ""
    }
}

extension JSONValue {
    /// The first text of a tool's result.
    var words: String? { self["result"]?["content"]?.arrayValue?.first?["text"]?.stringValue }
    var code: Int? { self["error"]?["code"]?.intValue }
    var type: String? { self["result"]?["resultType"]?.stringValue }
}

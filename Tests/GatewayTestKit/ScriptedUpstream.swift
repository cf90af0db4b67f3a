// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import MCPWire
import NIOCore
import NIOPosix
import Synchronization

/// How an upstream answers one request.
package indirect enum ScriptedAnswer: Sendable {
    case json(status: Int, headers: [(String, String)], String)
    /// An event stream; each text goes out as it stands, in a chunk of its own.
    case events([String], ends: Bool)
    /// These bytes and nothing else.
    case bytes(String, closes: Bool)
    /// Never.
    case silence
    /// The connection is closed instead.
    case closing
    /// When the gate opens.
    case after(Gate, ScriptedAnswer)

    package static func json(_ text: String, status: Int = 200) -> ScriptedAnswer {
        .json(status: status, headers: [], text)
    }

    package static func result(_ members: String, to request: RecordedRequest) -> ScriptedAnswer {
        .json(#"{"jsonrpc":"2.0","id":\#(request.id),"result":{\#(members)}}"#)
    }

    package static func error(_ code: Int, _ words: String, to request: RecordedRequest, status: Int = 200)
        -> ScriptedAnswer
    {
        .json(#"{"jsonrpc":"2.0","id":\#(request.id),"error":{"code":\#(code),"message":"\#(words)"}}"#, status: status)
    }
}

/// Which era's habits an upstream has where its script says nothing.
package enum Personality: Sendable {
    case modern
    case legacy(Revision, hasSessions: Bool)
}

/// A real HTTP server on a random loopback port, whose answers a test writes.
///
/// Where the script says nothing it is an MCP server with one tool, `echo`, which answers with its own arguments, byte
/// for byte, as `structuredContent`.
package final class ScriptedUpstream: Sendable {
    package typealias Script = @Sendable (RecordedRequest) -> ScriptedAnswer?

    private struct State: Sendable {
        var script: Script?
        var requests: [RecordedRequest] = []
        var sessions: Set<String> = []
        var sessionCount = 0
        var connectionCount = 0
        var left = 0
        var channels: [Int: any Channel] = [:]
        var listener: (any Channel)?
        var tools: [OfferedItem]
    }

    package var port: Int { reservation.port }
    private let reservation: PortReservation
    private let personality: Personality
    private let state: Mutex<State>

    private init(_ personality: Personality, tools: [OfferedItem]) throws {
        self.personality = personality
        reservation = try PortReservation()
        state = Mutex(State(tools: tools))
    }

    package var url: String { "http://127.0.0.1:\(port)/mcp" }

    /// - Parameter isAway: has its port, and serves nothing until `comeBack`.
    package static func start(
        _ personality: Personality, tools: [OfferedItem] = [.plain("echo")], isAway: Bool = false
    ) async throws -> ScriptedUpstream {
        let upstream = try ScriptedUpstream(personality, tools: tools)
        if !isAway { try await upstream.comeBack() }
        return upstream
    }

    /// Listens, on the same port as before.
    package func comeBack() async throws {
        let listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    let number = state.withLock { state in
                        state.connectionCount += 1
                        state.channels[state.connectionCount] = channel
                        return state.connectionCount
                    }
                    try channel.pipeline.syncOperations.addHandler(UpstreamConnection(owner: self, number: number))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        state.withLock { $0.listener = listener }
    }

    /// Stops listening and drops every connection.
    package func goAway() async {
        let (listener, channels) = state.withLock { state in
            defer { state.listener = nil }
            return (state.listener, Array(state.channels.values))
        }
        // Closing what the other side has closed already is what we want.
        try? await listener?.close()
        for channel in channels { try? await channel.close() }
    }

    // MARK: The test's side

    /// From here on `script` is asked first; what it leaves (nil) the personality answers.
    package func answer(_ script: @escaping Script) { state.withLock { $0.script = script } }

    /// Answers `tools/call` only, the rest by personality.
    package func answerCalls(_ script: @escaping @Sendable (RecordedRequest) -> ScriptedAnswer?) {
        answer { $0.method == "tools/call" ? script($0) : nil }
    }

    package func list(_ tools: [OfferedItem]) { state.withLock { $0.tools = tools } }

    /// Every session so far is forgotten: requests with its id get 404.
    package func forgetSessions() { state.withLock { $0.sessions = [] } }

    package var requests: [RecordedRequest] { state.withLock { $0.requests } }
    package func requests(_ method: String) -> [RecordedRequest] { requests.filter { $0.method == method } }
    package var calls: [RecordedRequest] { requests("tools/call") }
    /// How many connections the gateway closed while a request on them had no complete answer.
    package var leftWaiting: Int { state.withLock { $0.left } }
    /// How many connections there have been.
    package var connectionCount: Int { state.withLock { $0.connectionCount } }
    /// How many there are now.
    package var openConnections: Int { state.withLock { $0.channels.count } }

    // MARK: The connections' side

    func ended(_ number: Int, whileWaiting: Bool) {
        state.withLock { state in
            state.channels[number] = nil
            if whileWaiting { state.left += 1 }
        }
    }

    func respond(to request: RecordedRequest) -> ScriptedAnswer {
        let script = state.withLock { state in
            state.requests.append(request)
            return state.script
        }
        return script?(request) ?? habit(request)
    }

    private func habit(_ request: RecordedRequest) -> ScriptedAnswer {
        switch personality {
        case .modern: modern(request)
        case .legacy(let revision, let hasSessions): legacy(request, revision, hasSessions)
        }
    }

    private func modern(_ request: RecordedRequest) -> ScriptedAnswer {
        let cache = #""resultType":"complete","ttlMs":1000,"cacheScope":"private""#
        switch request.method {
        case "server/discover":
            return .result(
                #"\#(cache),"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}"#, to: request)
        case "tools/list": return .result("\(cache),\"tools\":[\(toolTexts)]", to: request)
        case "tools/call": return .result(#""resultType":"complete",\#(echo(request))"#, to: request)
        default: return .error(-32601, "no such method", to: request, status: 404)
        }
    }

    private func legacy(_ request: RecordedRequest, _ revision: Revision, _ hasSessions: Bool) -> ScriptedAnswer {
        if request.method == "initialize" { return initialize(request, revision, hasSessions) }
        if hasSessions {
            guard let session = request.header("mcp-session-id") else {
                return .error(-32600, "missing session", to: request, status: 400)
            }
            guard state.withLock({ $0.sessions.contains(session) }) else {
                return .error(-32600, "session terminated", to: request, status: 404)
            }
        }
        switch request.method {
        case "tools/list": return .result("\"tools\":[\(toolTexts)]", to: request)
        case "tools/call": return .result(echo(request), to: request)
        case .some(let method) where method.hasPrefix("notifications/"):
            return .json(status: 202, headers: [], "")
        default: return .error(-32601, "no such method", to: request)
        }
    }

    private func initialize(_ request: RecordedRequest, _ revision: Revision, _ hasSessions: Bool) -> ScriptedAnswer {
        var headers: [(String, String)] = []
        if hasSessions {
            let session = state.withLock { state in
                state.sessionCount += 1
                state.sessions.insert("session-\(state.sessionCount)")
                return "session-\(state.sessionCount)"
            }
            headers = [("mcp-session-id", session)]
        }
        let result =
            #"{"protocolVersion":"\#(revision.name)","capabilities":{"tools":{}},"#
            + #""serverInfo":{"name":"scripted","version":"1"}}"#
        return .json(
            status: 200, headers: headers, #"{"jsonrpc":"2.0","id":\#(request.id),"result":\#(result)}"#)
    }

    private var toolTexts: String {
        state.withLock { $0.tools }.map { String(decoding: $0.definition, as: UTF8.self) }.joined(separator: ",")
    }

    private func echo(_ request: RecordedRequest) -> String {
        #""content":[{"type":"text","text":"echo"}],"structuredContent":\#(request.param("arguments") ?? "{}")"#
    }
}

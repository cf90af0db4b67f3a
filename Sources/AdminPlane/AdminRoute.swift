// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import HTTPListener
internal import MCPWire
internal import NIOCore
package import Telemetry

/// One thing that an operator can ask for.
struct AdminCall: Sendable {
    /// What `security.log` calls it.
    let name: String
    let verb: HTTPVerb
    /// The stored call that the path names.
    var item: Int64?
    let perform: @Sendable (AdminOrder) async throws(AdminRefusal) -> AdminAnswer

    init(
        _ name: String, _ verb: HTTPVerb, item: Int64? = nil,
        _ perform: @escaping @Sendable (AdminOrder) async throws(AdminRefusal) -> AdminAnswer
    ) {
        self.name = name
        self.verb = verb
        self.item = item
        self.perform = perform
    }
}

/// What the operator said besides path and verb.
struct AdminOrder: Sendable {
    let body: AdminBody
    let query: AdminQuery
    /// For what is written down about it.
    let who: String
}

/// What was done and what is in force now.
struct AdminAnswer: Sendable {
    /// One sentence for people; stands in `security.log` too.
    var words: String
    var facts: [(key: String, value: JSONValue)] = []

    var json: JSONValue { .object([("words", .string(words))] + facts) }
}

/// Why something was not done.
struct AdminRefusal: Error, Sendable {
    let status: HTTPStatus
    let code: String
    let words: String

    init(_ status: HTTPStatus, _ code: String, _ words: String) {
        self.status = status
        self.code = code
        self.words = words
    }

    static func bad(_ words: String) -> AdminRefusal { AdminRefusal(.badRequest, "bad_request", words) }
}

/// What stands before every admin route: asks who it is, bounds and reads the body, and writes one line to
/// `security.log` for each call, whatever becomes of it.
package struct AdminGate: Sendable {
    let door: OperatorDoor
    let log: any SecurityLog
    private let refusals: RefusalLog

    package init(door: OperatorDoor, log: any SecurityLog, time: any TimeSource) {
        self.door = door
        self.log = log
        refusals = RefusalLog(log: log, time: time)
    }

    /// The largest body an order can need, many times over.
    static let bodyBytesMax = 64 << 10

    /// - Parameter calls: what can be asked for at this path; empty when there is no such path.
    func handle(_ request: HTTPRequest, _ exchange: HTTPExchange, calls: [AdminCall]) async {
        let who: String
        switch door.visitor(request) {
        case .local(let name): who = name
        case .stranger(let why):
            refusals.note(SecurityEvent.adminRefused, request, facts: [("path", path(request)), ("detail", why)])
            return exchange.refuse(
                .forbidden, code: "operators_only",
                "Admin routes are for operators: ask on the gateway's machine, as one of the users in admin.local, or "
                    + "through its control socket (the verbs of mcp-gateway do).")
        }
        let verb: HTTPVerb = request.verb == .head ? .get : request.verb
        guard let call = calls.first(where: { $0.verb == verb }) else {
            note(who, "\(request.verb.label) \(path(request))", nil, calls.isEmpty ? 404 : 405, nil, request)
            return refuse(exchange, calls)
        }
        do throws(AdminRefusal) {
            let order = AdminOrder(
                body: verb == .get ? .none : try AdminBody(request.body), query: AdminQuery(request.queryItems),
                who: who)
            let answer = try await call.perform(order)
            note(who, call.name, call.item, HTTPStatus.ok.rawValue, answer.words, request)
            exchange.answer(.ok, .json, ByteBuffer(string: answer.json.text + "\n"))
        } catch {
            note(who, call.name, call.item, error.status.rawValue, error.words, request)
            exchange.refuse(error.status, code: error.code, error.words)
        }
    }

    private func refuse(_ exchange: HTTPExchange, _ calls: [AdminCall]) {
        guard !calls.isEmpty else {
            return exchange.refuse(.notFound, code: "not_found", "There is no such admin route.")
        }
        let verbs = calls.flatMap { $0.verb == .get ? ["GET", "HEAD"] : [$0.verb.label] }.joined(separator: ", ")
        exchange.refuse(
            .methodNotAllowed, code: "method_not_allowed", "This path takes \(verbs).", headers: [("allow", verbs)])
    }

    private func path(_ request: HTTPRequest) -> String { String(request.path.prefix(200)) }

    private func note(
        _ who: String, _ what: String, _ item: Int64?, _ status: Int, _ words: String?, _ request: HTTPRequest
    ) {
        var facts = [("who", who), ("what", what)]
        if let item { facts.append((LogKey.item, String(item))) }
        facts.append(("status", String(status)))
        if let words { facts.append((LogKey.detail, words)) }
        facts.append((LogKey.requestID, request.id.description))
        log.security(SecurityEvent.adminCall, facts: facts)
    }
}

/// An admin route at one path, or at all paths below one.
struct AdminRoute: HTTPRoute {
    let gate: AdminGate
    let calls: @Sendable (_ path: Substring) -> [AdminCall]

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        await gate.handle(request, exchange, calls: calls(request.path))
    }
}

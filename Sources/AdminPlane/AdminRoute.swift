// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
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
    /// With at most one part in braces, which stands for whatever is asked there: `/admin/queue/{id}/retry`.
    let path: String
    /// For people who read the list of all calls.
    let about: String
    var query: [AdminField] = []
    var body: [AdminField] = []
    /// Answers besides those that every call may give.
    var refusals: [HTTPStatus] = []
    /// What stands in the braces is a number: digits and nothing else, so that a thing has one path.
    var isNumbered = false
    /// A member that only goes with another one which has to be true.
    var isOnlyWith: (member: String, flag: String)?
    let perform: @Sendable (AdminOrder) async throws(AdminRefusal) -> AdminAnswer

    init(
        _ name: String, _ verb: HTTPVerb, _ path: String, _ about: String, query: [AdminField] = [],
        body: [AdminField] = [], refusals: [HTTPStatus] = [], isNumbered: Bool = false,
        _ perform: @escaping @Sendable (AdminOrder) async throws(AdminRefusal) -> AdminAnswer
    ) {
        self.name = name
        self.verb = verb
        self.path = path
        self.about = about
        self.query = query
        self.body = body
        self.refusals = refusals
        self.isNumbered = isNumbered
        self.perform = perform
    }

    /// What stands where the path has its braces; nil when it is another path.
    func place(in asked: Substring) -> String? {
        guard let open = path.firstIndex(of: "{"), let close = path.firstIndex(of: "}") else {
            return asked == path ? "" : nil
        }
        let (head, tail) = (path[..<open], path[path.index(after: close)...])
        guard asked.hasPrefix(head), asked.hasSuffix(tail), asked.count > head.count + tail.count else { return nil }
        let place = asked.dropFirst(head.count).dropLast(tail.count)
        if isNumbered {
            return place.utf8.allSatisfy { (0x30...0x39).contains($0) } && Int64(place) != nil ? String(place) : nil
        }
        return place.contains("/") ? nil : AdminQuery.decoded(place, plusIsSpace: false)
    }
}

/// One member of a body, or one parameter of a query: what it is called and what it takes.
struct AdminField: Sendable {
    enum Kind: Sendable {
        case text, flag
        /// Such as `30m`, `24h`, `7d`.
        case duration
        /// The same, and more than nothing.
        case lasting
        case number(ClosedRange<Double>)
        case count(ClosedRange<Int64>)
        case texts([String])
        /// One of these.
        case choice([String])
        /// Some of these, with commas between.
        case list([String])
        case path
        /// A text of this form, as a regular expression of JSON Schema.
        case form(String)
    }

    let name: String
    let kind: Kind
    let about: String
    var isRequired = false

    init(_ name: String, _ kind: Kind, _ about: String, isRequired: Bool = false) {
        self.name = name
        self.kind = kind
        self.about = about
        self.isRequired = isRequired
    }

    static let lasts = AdminField("for", .lasting, "Undoes itself after this time; until somebody does when left out.")
}

/// What the operator said besides the verb.
struct AdminOrder: Sendable {
    let body: AdminBody
    let query: AdminQuery
    /// What the path has in its place in braces.
    let place: String
    /// For what is written down about it.
    let who: String

    func terms() throws(AdminRefusal) -> OrderTerms { OrderTerms(by: who, lasts: try body.lasting("for")) }
}

/// What was done and what is in force now.
struct AdminAnswer: Sendable {
    /// One sentence for people; stands in `security.log` too.
    var words: String
    var facts: [(key: String, value: JSONValue)] = []
    /// Another document instead of words and facts.
    var document: JSONValue?

    var json: JSONValue { document ?? .object([("words", .string(words))] + facts) }
}

/// Why something was not done.
struct AdminRefusal: Error, Sendable {
    let status: HTTPStatus
    let code: String
    let words: String
    /// Single mistakes, where there are several.
    let problems: [String]

    init(_ status: HTTPStatus, _ code: String, _ words: String, problems: [String] = []) {
        self.problems = problems
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

    /// - Parameter calls: what can be asked for at this path, with its place; empty when there is no such path.
    func handle(
        _ request: HTTPRequest, _ exchange: HTTPExchange, calls: [(call: AdminCall, place: String)]
    ) async {
        let visitor = door.visitor(request)
        guard case .operating(let who) = visitor else { return refuse(visitor, request, exchange) }
        let verb: HTTPVerb = request.verb == .head ? .get : request.verb
        guard let (call, place) = calls.first(where: { $0.call.verb == verb }) else {
            note(who, "\(request.verb.label) \(path(request))", nil, calls.isEmpty ? 404 : 405, nil, request)
            return refuse(exchange, calls.map(\.call))
        }
        do throws(AdminRefusal) {
            let order = AdminOrder(
                body: verb == .get ? .none : try AdminBody(request.body), query: AdminQuery(request.queryItems),
                place: place, who: who)
            try order.query.allow(call.query)
            try order.body.allow(call.body)
            let answer = try await call.perform(order)
            note(who, call.name, place, HTTPStatus.ok.rawValue, answer.words, request)
            exchange.answer(.ok, .json, ByteBuffer(string: answer.json.text + "\n"))
        } catch {
            note(who, call.name, place, error.status.rawValue, error.words, request)
            exchange.refuse(error.status, code: error.code, error.words, problems: error.problems)
        }
    }

    private func refuse(_ visitor: OperatorDoor.Visitor, _ request: HTTPRequest, _ exchange: HTTPExchange) {
        refusals.note(SecurityEvent.adminRefused, request, facts: [("path", path(request)), ("detail", visitor.why)])
        guard visitor.mayTryAgain else {
            return exchange.refuse(
                .forbidden, code: "operators_only",
                "Admin routes are for operators: ask on the gateway's machine, as one of the users in admin.local, "
                    + "through its control socket (the verbs of mcp-gateway do), or with a token of the role admin.")
        }
        exchange.refuse(
            .unauthorized, code: "token_refused",
            "The token is not one of this gateway, or is revoked or expired. Ask for another one "
                + "(mcp-gateway token new).",
            headers: [("www-authenticate", "Bearer realm=\"mcp-gateway\"")])
    }

    private func refuse(_ exchange: HTTPExchange, _ calls: [AdminCall]) {
        guard !calls.isEmpty else {
            return exchange.refuse(.notFound, code: "not_found", "There is no such admin route.")
        }
        let verbs = calls.flatMap { $0.verb == .get ? ["GET", "HEAD"] : [$0.verb.label] }.joined(separator: ", ")
        exchange.refuse(
            .methodNotAllowed, code: "method_not_allowed", "This path takes \(verbs).", headers: [("allow", verbs)])
    }

    private func path(_ request: HTTPRequest) -> String { Self.shown(request.path.prefix(200)) }

    /// Somebody may paste a token where its id belongs.
    private static func shown(_ text: Substring) -> String {
        var rest = text.prefix(2_000)
        var out = ""
        while let mark = rest.firstRange(of: Token.secretPrefix) {
            out += rest[..<mark.upperBound] + "…"
            rest = rest[mark.upperBound...].drop { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
        }
        return out + rest
    }

    private func note(
        _ who: String, _ what: String, _ place: String?, _ status: Int, _ words: String?, _ request: HTTPRequest
    ) {
        var facts = [("who", who), ("what", what)]
        if let place, !place.isEmpty {
            facts.append((what.hasPrefix("queue.") ? LogKey.item : "subject", Self.shown(place.prefix(200))))
        }
        facts.append(("status", String(status)))
        if let words { facts.append((LogKey.detail, Self.shown(words[...]))) }
        facts.append((LogKey.requestID, request.id.description))
        log.security(SecurityEvent.adminCall, facts: facts)
    }
}

/// All admin routes at one path, or at all paths below one.
struct AdminRoute: HTTPRoute {
    let gate: AdminGate
    /// Those that may be meant.
    let calls: [AdminCall]

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        let meant = calls.compactMap { call in call.place(in: request.path).map { (call: call, place: $0) } }
        await gate.handle(request, exchange, calls: meant)
    }
}

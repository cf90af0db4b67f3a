// Licensed under the Apache License 2.0; see LICENSE.

package import Access
internal import GatewayCore
internal import HTTPListener
package import MCPWire

/// What operators ask of the gateway as a whole: its state on one screen, its upstreams, its configuration.
struct GatewayCalls: Sendable {
    let rooms: AdminRooms

    var calls: [AdminCall] {
        [
            AdminCall("status", .get, "/admin/status", "Everything that stands on one screen.") {
                _ throws(AdminRefusal) in status()
            },
            AdminCall("upstreams.list", .get, "/admin/upstreams", "All upstreams and how calls go to them.") {
                _ throws(AdminRefusal) in
                let owners = rooms.traffic.owners().filter { $0.route == "upstream" }
                let away = owners.filter { !$0.isReachable }.map(\.name)
                let words = away.isEmpty ? "all can be reached" : "away: \(away.joined(separator: ", "))"
                return AdminAnswer(
                    words: owners.isEmpty ? "there are no upstreams" : words, facts: [("upstreams", upstreams())])
            },
            AdminCall(
                "reload", .post, "/admin/reload", "Reads the configuration file again: all of it, or nothing.",
                refusals: [.conflict, .unavailable], reload),
        ]
    }

    private func upstreams() -> JSONValue {
        let status = Dictionary(rooms.health().map { ($0.name, $0) }) { first, _ in first }
        let breakers = rooms.traffic.breakers()
        let stored = rooms.queue.waiting()
        let owners = rooms.traffic.owners().filter { $0.route == "upstream" }
        return .array(
            owners.map { owner in
                let component = status["upstream:\(owner.name)"]
                return .object([
                    ("name", .string(owner.name)), ("prefix", .string(owner.prefix)),
                    ("status", .string(component?.status.rawValue ?? "unhealthy")),
                    ("detail", .string(component?.detail ?? "")), ("tools", .integer(owner.tools)),
                    ("in_flight", .integer(owner.inFlight)), ("waiting", .integer(owner.waiting)),
                    ("stored", .integer(stored[owner.name] ?? 0)),
                    (
                        "breakers", .array(breakers.filter { $0.upstream == owner.name }.map(TrafficFacts.json))
                    ),
                ])
            })
    }

    private func status() -> AdminAnswer {
        let pulse = rooms.traffic.pulse()
        let now = rooms.time.wallMilliseconds()
        let health = rooms.health()
        let level = HealthReport.overall(health)
        return AdminAnswer(
            words: "\(level.rawValue), \(Words.count(pulse.calls, "call")) in the last minute",
            facts: [
                ("status", .string(level.rawValue)), ("version", .string(rooms.version)),
                ("uptime_seconds", .seconds(rooms.uptime().milliseconds / 1_000)),
                ("storage", .string(rooms.folder)), ("listens", .bool(rooms.listens)),
                ("certificate_expires", rooms.certificateExpires().map { .integer($0) } ?? .null),
                ("in_flight", .integer(rooms.traffic.callsInFlight)),
                ("draining", .bool(rooms.traffic.isDraining)),
                ("last_minute", Self.json(pulse)), ("queue", QueueFacts.json(rooms.queue.counts(), now: now)),
                ("in_force", rooms.inForce()), ("load", rooms.load()), ("upstreams", upstreams()),
                ("components", .array(health.map(HealthReport.json))),
                ("overrides", .array(rooms.traffic.overrides().map(TrafficFacts.json))),
            ])
    }

    private static func json(_ pulse: TrafficPulse) -> JSONValue {
        .object([
            ("calls", .integer(pulse.calls)), ("failed", .integer(pulse.failed)),
            ("limited", .integer(pulse.limited)),
            ("calls_per_second", .seconds(Double(pulse.calls) / pulse.seconds)),
            ("p50_ms", pulse.p50.map { .seconds($0) } ?? .null), ("p95_ms", pulse.p95.map { .seconds($0) } ?? .null),
        ])
    }

    private func reload(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let report: ReloadReport
        do throws(ReloadRefusal) {
            report = try await rooms.configuration.reload(by: order.who)
        } catch {
            throw AdminRefusal(.conflict, "configuration_refused", error.words, problems: error.problems)
        }
        return AdminAnswer(
            words: report.words,
            facts: [
                ("changed", .array(report.changed.map { .string($0) })),
                ("waits_for_restart", .array(report.waiting.map { .string($0) })),
                ("probation_seconds", report.probation.map { .seconds($0.milliseconds / 1_000) } ?? .null),
            ])
    }
}

/// Tokens: who has one, a new one, and the end of one.
struct TokenCalls: Sendable {
    let book: TokenBook
    /// Ends what is held open for those who have no good token any more.
    let revoked: @Sendable () -> Void
    let time: any TimeSource

    var calls: [AdminCall] {
        [
            AdminCall("tokens.list", .get, "/admin/tokens", "All tokens, without their secrets.") {
                _ throws(AdminRefusal) in
                let all = book.all()
                return AdminAnswer(
                    words: Words.count(all.count, "token"),
                    facts: [("tokens", .array(all.map { TokenFacts.json($0, now: time.wallMilliseconds()) }))])
            },
            AdminCall(
                "tokens.new", .post, "/admin/tokens", "Makes a token. Its secret is shown this once.",
                body: [
                    AdminField(
                        "name", .form(Self.nameForm), "whose it is, 1 to 64 of A-Z a-z 0-9 . _ @ -", isRequired: true),
                    AdminField("roles", .texts(Role.allCases.map(\.rawValue)), "what it opens.", isRequired: true),
                    AdminField("for", .lasting, "How long it is good; until it is revoked when left out."),
                ],
                refusals: [.conflict, .internalError], make),
            AdminCall(
                "tokens.revoke", .delete, "/admin/tokens/{id}", "Ends a token, by its id or its name.",
                refusals: [.notFound, .conflict, .internalError], revoke),
        ]
    }

    /// What the book takes for a name.
    private static let nameForm = "^(?!anonymous$)(?!mcpgw_)(?![0-9a-f]{8}$)[A-Za-z0-9._@-]{1,64}$"

    private func make(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let name = try order.body.text("name") ?? ""
        let roles = try Self.roles(try order.body.texts("roles") ?? [])
        let now = time.wallMilliseconds()
        let expires = try order.body.lasting("for").map { now + Int64($0.milliseconds) }
        do throws(AccessError) {
            let (token, secret) = try await Self.offLoop { () throws(AccessError) in
                try book.add(name: name, roles: roles, expiresAt: expires, now: now)
            }
            return AdminAnswer(
                words: "token \(token.id) of \(token.name) made; its secret is shown this once",
                facts: [("secret", .string(secret)), ("token", TokenFacts.json(token, now: now))])
        } catch { throw Self.refusal(error) }
    }

    private static func roles(_ names: [String]) throws(AdminRefusal) -> Set<Role> {
        var roles: Set<Role> = []
        for name in names {
            guard let role = Role(rawValue: name) else {
                let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw .bad("\"roles\" has an entry that is no role; there are \(known).")
            }
            roles.insert(role)
        }
        return roles
    }

    private func revoke(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        do throws(AccessError) {
            let token = try await Self.offLoop { () throws(AccessError) in try book.revoke(order.place) }
            revoked()
            return AdminAnswer(
                words: "token \(token.id) of \(token.name) is revoked and opens nothing any more",
                facts: [("token", TokenFacts.json(token, now: time.wallMilliseconds()))])
        } catch { throw Self.refusal(error) }
    }

    /// A change waits for the disk, which no event loop may.
    private static func offLoop<Value: Sendable>(
        _ body: @escaping @Sendable () throws(AccessError) -> Value
    ) async throws(AccessError) -> Value {
        let result = await Task.detached { () -> Result<Value, AccessError> in
            do throws(AccessError) { return .success(try body()) } catch { return .failure(error) }
        }.value
        return try result.get()
    }

    private static func refusal(_ error: AccessError) -> AdminRefusal {
        switch error {
        case .refused: .bad(error.words.prefix(1).uppercased() + error.words.dropFirst() + ".")
        case .nameTaken, .full, .busy: AdminRefusal(.conflict, "not_possible", error.words)
        case .unknown: AdminRefusal(.notFound, "not_found", error.words)
        case .damaged, .unusable: AdminRefusal(.internalError, "tokens_unusable", error.words)
        }
    }
}

/// Tokens as JSON, without their secrets.
package enum TokenFacts {
    package static func json(_ token: Token, now: Int64) -> JSONValue {
        .object([
            ("id", .string(token.id)), ("name", .string(token.name)),
            ("roles", .array(token.roles.map(\.rawValue).sorted().map { .string($0) })),
            ("created_at", .string(WallTime.text(milliseconds: token.createdAt))),
            ("expires_at", token.expiresAt.map { .string(WallTime.text(milliseconds: $0)) } ?? .null),
            ("expired", .bool(token.hasExpired(at: now))),
        ])
    }
}

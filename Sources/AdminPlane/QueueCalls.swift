// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire

/// What operators see of stored calls and do with them.
struct QueueCalls: Sendable {
    let queue: any CallQueue
    let time: any TimeSource

    private static let statusNames = StoredStatus.allCases.map(\.rawValue)

    var calls: [AdminCall] {
        [
            AdminCall(
                "queue.list", .get, "/admin/queue", "Stored calls, newest first.",
                query: [
                    AdminField("status", .list(Self.statusNames), "Only those in one of these states."),
                    AdminField("upstream", .text, "Only those for this upstream."),
                    AdminField("limit", .count(1...1_000), "At most so many; 100 when left out."),
                    AdminField("before", .count(1...Int64.max), "Only those with a lower id."),
                ], list),
            AdminCall(
                "queue.purge", .post, "/admin/queue/purge", "Removes calls that are over.",
                body: [
                    AdminField(
                        "statuses", .texts(StoredStatus.allCases.filter(\.isOver).map(\.rawValue)),
                        "which calls are meant, such as [\"failed\",\"expired\"].", isRequired: true),
                    AdminField("older_than", .duration, "Only those that ended longer ago; any when left out."),
                ], purge),
            AdminCall(
                "queue.show", .get, "/admin/queue/{id}", "One stored call.", refusals: [.notFound], isNumbered: true,
                show),
            AdminCall(
                "queue.cancel", .delete, "/admin/queue/{id}", "Takes a stored call back that was not sent.",
                refusals: [.notFound, .conflict], isNumbered: true, cancel),
            AdminCall(
                "queue.retry", .post, "/admin/queue/{id}/retry", "Has a stored call sent again.",
                refusals: [.notFound, .conflict], isNumbered: true, retry),
        ]
    }

    private static func id(_ order: AdminOrder) -> Int64 { Int64(order.place) ?? 0 }

    /// `?status=failed,unknown&upstream=erp&limit=100&before=4711`
    func list(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        var filter = QueueFilter()
        filter.statuses = try Self.statuses(order.query.texts("status"))
        filter.upstream = order.query.text("upstream")
        filter.limit = Int(try order.query.number("limit", 1...1_000) ?? 100)
        filter.before = try order.query.number("before", 1...Int64.max)
        let now = time.wallMilliseconds()
        let calls = await queue.list(filter)
        let counts = queue.counts()
        let isMore = calls.count == filter.limit
        return AdminAnswer(
            words: QueueFacts.words(counts, now: now),
            facts: [
                ("notes", .array(await notes(counts).map { .string($0) })),
                ("counts", QueueFacts.json(counts, now: now)),
                ("items", .array(calls.map { QueueFacts.json($0, now: now) })),
                ("next_before", isMore ? calls.last.map { .integer($0.id) } ?? .null : .null),
            ])
    }

    /// What a person has to know before anything else.
    private func notes(_ counts: QueueCounts) async -> [String] {
        let undecided = counts.items[.unknown, default: 0]
        guard undecided > 0 else { return [] }
        var filter = QueueFilter()
        filter.statuses = [.unknown]
        filter.limit = 1_000
        let restored = await queue.list(filter).count { $0.lastError?.hasPrefix("restored from") == true }
        var notes = [
            "\(Words.count(undecided, "call")) may have been carried out and may not: look at the upstream, then retry "
                + "or cancel each"
        ]
        if restored > 0 {
            notes.append("\(restored) of them came back with a restored backup and may have been carried out since")
        }
        return notes
    }

    private static func statuses(_ names: [String]) throws(AdminRefusal) -> Set<StoredStatus> {
        var statuses: Set<StoredStatus> = []
        for name in names {
            guard let status = StoredStatus(rawValue: name) else {
                let known = StoredStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw .bad(
                    "\(JSONText.quoted(String(name.prefix(60)))) is no status of a stored call; there are \(known).")
            }
            statuses.insert(status)
        }
        return statuses
    }

    private func show(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let id = Self.id(order)
        guard let found = await queue.find(id: id) else { throw Self.noSuchCall(id) }
        return AdminAnswer(
            words: "call \(id) is \(found.call.status.rawValue)",
            facts: [("item", QueueFacts.json(found, now: time.wallMilliseconds()))])
    }

    private func retry(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let id = Self.id(order)
        switch await queue.retry(id: id, now: time.wallMilliseconds()) {
        case .done(let call): return answer("call \(id) is queued and will be sent again", call, hasChanged: true)
        case .notPossible(let call):
            switch call.status {
            case .queued: return answer("call \(id) is queued already", call, hasChanged: false)
            case .inFlight: return answer("call \(id) is being sent now", call, hasChanged: false)
            case .completed, .failed, .expired, .cancelled, .unknown:
                throw AdminRefusal(
                    .conflict, "not_possible",
                    "Call \(id) is \(call.status.rawValue) and cannot be sent again; nothing was changed.")
            }
        case .noSuchCall: throw Self.noSuchCall(id)
        }
    }

    private func cancel(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let id = Self.id(order)
        let words = "cancelled by an operator (\(order.who))"
        switch await queue.cancel(id: id, words: words, now: time.wallMilliseconds()) {
        case .done(let call): return answer("call \(id) is cancelled", call, hasChanged: true)
        case .notPossible(let call):
            switch call.status {
            case .cancelled: return answer("call \(id) is cancelled already", call, hasChanged: false)
            case .inFlight:
                throw AdminRefusal(
                    .conflict, "being_sent",
                    "Call \(id) is being sent right now and cannot be taken back; ask again when that has ended.")
            case .queued, .completed, .failed, .expired, .unknown:
                throw AdminRefusal(
                    .conflict, "not_possible",
                    "Call \(id) is \(call.status.rawValue): there is nothing to cancel; nothing was changed.")
            }
        case .noSuchCall: throw Self.noSuchCall(id)
        }
    }

    private func answer(_ words: String, _ call: StoredCall, hasChanged: Bool) -> AdminAnswer {
        let now = time.wallMilliseconds()
        return AdminAnswer(
            words: words,
            facts: [
                ("changed", .bool(hasChanged)), ("item", QueueFacts.json(call, now: now)),
                ("counts", QueueFacts.json(queue.counts(), now: now)),
            ])
    }

    private static func noSuchCall(_ id: Int64) -> AdminRefusal {
        AdminRefusal(
            .notFound, "no_such_call", "There is no stored call \(id); it may be over and its time to be kept, too.")
    }

    /// `{"statuses":["failed"],"older_than":"24h"}`; without `older_than` those of any age.
    func purge(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let statuses = try Self.statuses(try order.body.texts("statuses") ?? [])
        guard !statuses.isEmpty else {
            throw .bad(#"Say which calls are meant: {"statuses":["failed","expired"],"older_than":"24h"}."#)
        }
        if let open = statuses.first(where: { !$0.isOver }) {
            throw .bad("Calls that are \(open.rawValue) are not over and cannot be removed; cancel them first.")
        }
        let age = try order.body.duration("older_than") ?? .zero
        let now = time.wallMilliseconds()
        // What changed in this very millisecond is as old as "any age" needs.
        let before = now - Int64(age.milliseconds) + (age == .zero ? 1 : 0)
        let count = await queue.purge(statuses, before: before)
        let names = statuses.map(\.rawValue).sorted()
        return AdminAnswer(
            words: "\(Words.count(count, "call")) removed (\(names.joined(separator: ", ")))",
            facts: [
                ("removed", .integer(count)), ("statuses", .array(names.map { .string($0) })),
                ("counts", QueueFacts.json(queue.counts(), now: now)),
            ])
    }
}

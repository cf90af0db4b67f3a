// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire

/// What operators order for cache, database and upstreams.
struct StorageCalls: Sendable {
    let rooms: AdminRooms

    var calls: [AdminCall] {
        [
            AdminCall(
                "cache.clear", .post, "/admin/cache/clear", "Forgets answers that are kept.",
                body: [AdminField("tool", .text, "Only those of this tool, by the name that clients know.")], clearCache
            ),
            AdminCall(
                "storage.rebuild", .post, "/admin/rebuild-indices",
                "Rebuilds the indices of the database, and finds payload files that no row names.",
                refusals: [.unavailable], rebuild),
            AdminCall(
                "storage.backup", .post, "/admin/backup", "Makes a verified copy of the database.",
                body: [
                    AdminField("to", .path, "Where to, as an absolute path; the day's own backup when left out.")
                ], refusals: [.conflict, .unavailable], backUp),
            AdminCall(
                "storage.verify", .post, "/admin/verify", "Looks at every page of a database file.",
                body: [AdminField("file", .path, "Which, as an absolute path; the one in use when left out.")],
                verify),
            AdminCall(
                "upstreams.sync", .post, "/admin/sync/force",
                "Tries every upstream now, lists it anew, and sends what is stored for it.", sync),
        ]
    }

    /// `{}` or `{"tool":"erp__price"}`.
    func clearCache(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let tool = try order.body.text("tool")
        let gone = await rooms.cache.clear(tool: tool)
        let left = rooms.cache.size()
        let whose = tool.map { " of \($0)" } ?? ""
        return AdminAnswer(
            words: "\(Words.count(gone.entries, "cached answer"))\(whose) removed, \(gone.bytes) bytes; "
                + "\(left.entries) left",
            facts: [
                ("tool", tool.map { .string($0) } ?? .null),
                ("removed", Self.size(gone)),
                ("cache", Self.size(left)),
            ])
    }

    private static func size(_ size: (entries: Int, bytes: Int64)) -> JSONValue {
        .object([("entries", .integer(size.entries)), ("bytes", .integer(size.bytes))])
    }

    func rebuild(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let report = await rooms.care.rebuild()
        return AdminAnswer(
            words: report.words,
            facts: [
                ("indices", .integer(report.indices)), ("orphans", .integer(report.orphans)),
                ("rows_without_payload", .integer(report.rowsWithoutPayload)),
                ("problems", .array(report.problems.map { .string($0) })),
                ("seconds", .seconds(report.seconds)),
            ])
    }

    /// `{}` or `{"to":"/absolute/path"}`.
    func backUp(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let path = try Self.path("to", order.body)
        let report: BackupReport
        do {
            report = try await rooms.care.backup(to: path)
        } catch {
            throw Self.refusal(error)
        }
        return AdminAnswer(
            words: "backup made and verified: \(report.path), \(report.bytes) bytes",
            facts: [
                ("path", .string(report.path)), ("bytes", .integer(report.bytes)),
                ("seconds", .seconds(report.seconds)),
            ])
    }

    private static func refusal(_ error: StorageCareError) -> AdminRefusal {
        switch error {
        case .closing: AdminRefusal(.unavailable, "stopping", error.text)
        case .damaged: AdminRefusal(.internalError, "database_damaged", error.text)
        case .impossible: AdminRefusal(.conflict, "not_possible", error.text)
        }
    }

    /// `{}` for the database in use, or `{"file":"/absolute/path"}`.
    func verify(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let report = await rooms.care.verify(try Self.path("file", order.body))
        let rows = report.rows.sorted { $0.key < $1.key }
        let words =
            report.isSound
            ? "\(report.path) is sound"
            : "\(report.path) is not sound: \(Words.count(report.problems.count, "problem")); "
                + (report.problems.first ?? "")
        return AdminAnswer(
            words: words,
            facts: [
                ("path", .string(report.path)), ("sound", .bool(report.isSound)),
                ("problems", .array(report.problems.map { .string($0) })),
                ("rows", .object(rows.map { ($0.key, .integer($0.value)) })),
                ("payloads_sound", .integer(report.payloadsSound)), ("seconds", .seconds(report.seconds)),
            ])
    }

    /// The gateway has a working directory of its own, so only an absolute path means the same to both sides.
    private static func path(_ name: String, _ body: AdminBody) throws(AdminRefusal) -> String? {
        guard let path = try body.text(name) else { return nil }
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
            throw .bad("\"\(name)\" is no absolute path of a file; \"/srv/queue-copy.db\" would be right.")
        }
        return path
    }

    func sync(_ order: AdminOrder) async throws(AdminRefusal) -> AdminAnswer {
        let upstreams = await rooms.sync()
        let waiting = rooms.queue.counts().waiting
        let left = waiting == 0 ? "no stored calls wait" : "\(Words.count(waiting, "stored call")) still to be sent"
        return AdminAnswer(
            words: "every upstream was tried; \(left)",
            facts: [("upstreams", upstreams), ("waiting", .integer(waiting))])
    }
}

/// Numbers in sentences and in JSON.
enum Words {
    static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}

extension JSONValue {
    static func integer(_ number: some BinaryInteger) -> JSONValue { .number(String(number)) }

    /// To the millisecond.
    static func seconds(_ seconds: Double) -> JSONValue { .number(String((seconds * 1_000).rounded() / 1_000)) }
}

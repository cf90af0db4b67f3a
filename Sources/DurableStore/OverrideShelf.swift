// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// What operators have changed by hand, as the table `overrides`. Read at the start; each change replaces all of it, in
/// one synced transaction.
package struct OverrideShelf: OverrideArchive {
    typealias Writer = @Sendable (@escaping @Sendable (Connection) -> Bool) async -> Bool?

    private let loaded: [Override]
    private let writer: Writer

    init(_ connection: Connection, writer: @escaping Writer) throws(SQLiteFailure) {
        self.writer = writer
        var loaded: [Override] = []
        let rows = try connection.prepare("SELECT kind, subject, value, since, made_by, until FROM overrides")
        while try rows.step() {
            // A kind that only a later version knows is left alone until the next change.
            guard let kind = rows.text(0).flatMap({ Override.Kind(rawValue: $0) }), let subject = rows.text(1),
                let value = rows.text(2), let since = rows.text(3).flatMap({ WallTime.milliseconds($0) })
            else { continue }
            loaded.append(
                Override(
                    kind: kind, subject: subject, value: value, since: since, by: rows.text(4) ?? "",
                    until: rows.text(5).flatMap { WallTime.milliseconds($0) }))
        }
        self.loaded = loaded
    }

    package func overrides() -> [Override] { loaded }

    package func keep(_ overrides: [Override]) async -> Bool {
        await writer { connection in
            do {
                try connection.transaction { () throws(SQLiteFailure) in try Self.replace(overrides, connection) }
                return true
            } catch {
                return false
            }
        } ?? false
    }

    private static func replace(_ overrides: [Override], _ connection: Connection) throws(SQLiteFailure) {
        try connection.execute("DELETE FROM overrides")
        for one in overrides {
            let row = try connection.prepare("INSERT INTO overrides VALUES (?, ?, ?, ?, ?, ?)")
            row.bind(1, one.kind.rawValue)
            row.bind(2, one.subject)
            row.bind(3, one.value)
            row.bind(4, WallTime.text(milliseconds: one.since))
            row.bind(5, one.by)
            row.bind(6, one.until.map { WallTime.text(milliseconds: $0) })
            try row.run()
        }
    }
}

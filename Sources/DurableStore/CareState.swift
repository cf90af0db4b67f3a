// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// A file that was taken out of the way at the start, and has somebody look at it for as long as it is there.
struct SetAside: Sendable, CustomStringConvertible {
    let file: String
    /// What it is, and what to do about it.
    let words: String

    var description: String { words }
}

/// What operators should know of the storage besides whether it can be written. Read by `/health` under a lock.
struct CareState: Sendable {
    /// An older copy was put in place, and so many of its calls wait for a person.
    var restored: (words: String, count: Int)?
    /// What was taken out of the way at the start.
    var setAside: SetAside?
    /// What the deep check found.
    var damage: String?
    /// Why there is no backup of today.
    var backupTrouble: String?

    /// Adds what is known to the components.
    func amend(_ components: [ComponentStatus]) -> [ComponentStatus] {
        components.map { component in
            var component = component
            switch component.name {
            case "storage":
                for words in [damage, setAside?.words, backupTrouble] { add(words, to: &component) }
            case "queue":
                if let restored, restored.count > 0 {
                    add("\(restored.count) calls wait for a person: " + restored.words, to: &component)
                }
            default: break
            }
            return component
        }
    }

    private func add(_ words: String?, to component: inout ComponentStatus) {
        guard let words else { return }
        component.detail = component.status == .healthy ? words : component.detail + "; " + words
        component.status = max(component.status, .degraded)
    }
}

/// The row of `meta` that the deep check leaves for the next start, whatever becomes of this process.
enum DamageNote {
    private static let metaKey = "damage"

    static func read(_ connection: Connection) throws(SQLiteFailure) -> String? {
        // A file of nobody's, or one that is just being made, has no such table.
        guard try connection.integer("SELECT 1 FROM sqlite_schema WHERE name = 'meta'") != nil else { return nil }
        return try connection.text("SELECT value FROM meta WHERE key = '\(metaKey)'")
    }

    static func write(_ words: String?, _ connection: Connection) throws(SQLiteFailure) {
        let change = try connection.prepare(
            words == nil
                ? "DELETE FROM meta WHERE key = '\(metaKey)'" : "INSERT OR REPLACE INTO meta VALUES ('\(metaKey)', ?1)")
        if let words { change.bind(1, words) }
        try change.run()
    }
}

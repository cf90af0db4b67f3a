// Licensed under the Apache License 2.0; see LICENSE.

extension SettingsKey {
    static let storage: [SettingsKey] = [
        SettingsKey("storage", .section, .none, "Where state is kept."),
        SettingsKey(
            "storage.directory", .madeDirectory, .place(installed: "/var/lib/mcp", checkout: "var/lib/mcp"),
            "Holds queue.db, keys and caches; one gateway at a time, unless `storage.replicas`. Changes at a restart."),
        SettingsKey(
            "storage.replicas", .flag, .flag(false),
            """
            Several gateways share the directory: each takes the first folder `replica-1`, `replica-2` … in it that is \
            free, and sends the calls that one which is gone has accepted. Changes at a restart.
            """
        ),
        SettingsKey(
            "storage.adopt_after", .duration(.seconds(1)...(.seconds(3_600))), .text("20s"),
            "How long a folder has to be without a gateway, before another one sends the calls in it."),
        SettingsKey("storage.replicas_max", .count(1...64), .number(16), "One more of them does not start."),
        SettingsKey(
            "storage.engine", .choice(["sqlite"], later: ["postgres"]), .text("sqlite"),
            "The database. Changes at a restart."),
        SettingsKey(
            "storage.retention", .duration(.seconds(3_600)...(.seconds(3_650 * 86_400))), .text("7d"),
            "Rows of the request and the error log older than this are removed."),
        SettingsKey(
            "storage.max_queue_items", .count(1...1_000_000), .number(10_000),
            "Stored calls that may wait or be on their way."),
        SettingsKey(
            "storage.max_queue_bytes", .size((1 << 20)...(1 << 40)), .text("256MiB"),
            "What their arguments and the results that are kept may take."),
        SettingsKey(
            "storage.max_queue_per_caller", .count(1...1_000_000), .derived("as many as all together"),
            "Stored calls of one caller that may wait or be on their way; one more is always refused."),
        SettingsKey(
            "storage.when_full", .choice(["refuse", "drop_oldest"], later: []), .text("refuse"),
            "What a full queue does with one more call: refuse it, or give up the oldest that waits."),
        SettingsKey(
            "storage.result_kept", .duration(.seconds(60)...(.seconds(365 * 86_400))), .text("24h"),
            "How long the result of a stored call can be asked for."),
        SettingsKey(
            "storage.backup_at", .timeOfDay, .text("03:30"),
            "When the day's backup is made anew, local time; the first is made at the start or after midnight."),
        SettingsKey("storage.backups_kept", .count(1...1_000), .number(7), "How many daily backups are kept."),
        later("storage.url", "Address of a PostgreSQL server."),
    ]
}

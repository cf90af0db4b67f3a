// Licensed under the Apache License 2.0; see LICENSE.

/// What one configuration says otherwise than another, by the names of its keys.
struct SettingsDifference {
    /// Differ, and can be put in force while the gateway runs.
    private(set) var changed: [String] = []
    /// Differ, and need a restart.
    private(set) var waiting: [String] = []
    /// The new settings as far as they can be in force now.
    private(set) var settings: GatewaySettings

    private struct Field: Sendable {
        let name: String
        let differs: @Sendable (GatewaySettings, GatewaySettings) -> Bool
        /// Puts back what needs a restart; nil when it needs none.
        var freeze: (@Sendable (inout GatewaySettings, GatewaySettings) -> Void)?
    }

    private static func live<Value: Equatable & SendableMetatype>(
        _ name: String, _ path: any KeyPath<GatewaySettings, Value> & Sendable
    ) -> Field {
        Field(name: name, differs: { $0[keyPath: path] != $1[keyPath: path] })
    }

    private static func frozen<Value: Equatable & SendableMetatype>(
        _ name: String, _ path: any WritableKeyPath<GatewaySettings, Value> & Sendable
    ) -> Field {
        Field(
            name: name, differs: { $0[keyPath: path] != $1[keyPath: path] },
            freeze: { $0[keyPath: path] = $1[keyPath: path] })
    }

    private static let fields: [Field] = [
        frozen("server.listen", \.server.listen), live("server.path", \.server.path),
        live("server.max_connections", \.server.connectionsMax), live("server.max_body", \.server.bodyBytesMax),
        live("server.request_timeout", \.server.requestTimeout), live("server.header_timeout", \.server.headerTimeout),
        live("server.shutdown_grace", \.server.shutdownGrace), live("server.allowed_hosts", \.server.allowedHosts),
        live("server.allowed_origins", \.server.allowedOrigins), live("server.compact_tools", \.server.hasCompactTools),
        live("server.reload_probation", \.server.reloadProbation),
        live("server.trusted_proxies", \.server.trustedProxies), live("server.tls", \.server.tls),
        live("admin.public_metrics", \.admin.hasPublicMetrics), live("admin.local", \.admin.local),
        live("admin.require_token", \.admin.requiresToken), frozen("admin.control_socket", \.admin.controlSocket),
        frozen("admin.listen", \.admin.listen),
        frozen("storage.directory", \.storage.directory), frozen("storage.replicas", \.storage.isShared),
        live("storage.replicas_max", \.storage.replicasMax), live("storage.adopt_after", \.storage.adoptAfter),
        live("storage.retention", \.storage.retention),
        live("storage.max_queue_items", \.storage.queueItemsMax),
        live("storage.max_queue_bytes", \.storage.queueBytesMax),
        live("storage.max_queue_per_caller", \.storage.queuePerCallerMax),
        live("storage.when_full", \.storage.dropsOldest), live("storage.result_kept", \.storage.resultKept),
        live("storage.backup_at", \.storage.backupMinute), live("storage.backups_kept", \.storage.backupsKept),
        live("cache.max_bytes", \.cache.bytesMax),
        live("log.directory", \.log.directory), live("log.level", \.log.level), live("log.format", \.log.format),
        live("log.slow_call", \.log.slowCall), live("log.request_rows", \.log.requestRowsPerSecond),
        live("log.stdout", \.log.writesToStandardOutput), live("log.rotate_at", \.log.rotateBytes),
        live("log.files_kept", \.log.filesKept),
        live("telemetry.otlp_endpoint", \.telemetry.collector),
        live("telemetry.sample_ratio", \.telemetry.sampleRatio),
        live("limits.max_in_flight", \.limits.inFlightMax), live("limits.max_waiting", \.limits.waitingMax),
        live("limits.max_wait", \.limits.waitMax), live("limits.requests_per_second", \.limits.rate),
        live("limits.per_caller", \.limits.ratePerCaller),
        live("auth.mode", \.auth.mode), live("auth.allow_anonymous", \.auth.allowsAnonymous),
        frozen("wasm", \.wasm),
    ]

    init(from old: GatewaySettings, to new: GatewaySettings) {
        settings = new
        for field in Self.fields where field.differs(old, new) {
            if let freeze = field.freeze {
                waiting.append(field.name)
                freeze(&settings, old)
            } else {
                changed.append(field.name)
            }
        }
        changed += Self.tables("upstreams", old.upstreams.map { ($0.name, $0) }, new.upstreams.map { ($0.name, $0) })
        changed += Self.tables("tools", old.tools.map { ($0.name, $0) }, new.tools.map { ($0.name, $0) })
    }

    private static func tables<Value: Equatable>(
        _ section: String, _ old: [(name: String, value: Value)], _ new: [(name: String, value: Value)]
    ) -> [String] {
        let before = Dictionary(old.map { ($0.name, $0.value) }) { first, _ in first }
        let after = Set(new.map(\.name))
        let changed = new.filter { before[$0.name] != $0.value }.map { one in
            "\(section).\(one.name)" + (before[one.name] == nil ? " (new)" : "")
        }
        let gone = old.filter { !after.contains($0.name) }.map { "\(section).\($0.name) (gone)" }
        // The order of the lists is that of the file.
        let isReordered = changed.isEmpty && gone.isEmpty && old.map(\.name) != new.map(\.name)
        return changed + gone + (isReordered ? ["\(section) (order)"] : [])
    }
}

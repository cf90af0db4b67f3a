// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// Puts checked values together to the settings that the daemon works with.
struct SettingsBuild {
    /// Where programs are looked for when the environment does not say.
    static let standardSearch = "/usr/local/bin:/usr/bin:/bin"

    let values: SettingsValues
    let tls: GatewaySettings.TLS?
    let sourcePath: String
    let upstreams: [String]
    let tools: [String]
    private var folder: String { SettingsUnits.folder(of: sourcePath) }

    init(
        values: SettingsValues, tls: GatewaySettings.TLS?, sourcePath: String, upstreams: [String], tools: [String]
    ) {
        self.values = values
        self.tls = tls
        self.sourcePath = sourcePath
        self.upstreams = upstreams
        self.tools = tools
    }

    func settings() -> GatewaySettings {
        GatewaySettings(
            sourcePath: sourcePath,
            server: GatewaySettings.Server(
                listen: values.address("server", "listen"),
                path: values.text("server", "path") ?? "",
                connectionsMax: values.number("server", "max_connections"),
                bodyBytesMax: values.number("server", "max_body"),
                requestTimeout: values.duration("server", "request_timeout"),
                headerTimeout: values.duration("server", "header_timeout"),
                shutdownGrace: values.duration("server", "shutdown_grace"),
                allowedHosts: values.texts("server", "allowed_hosts"),
                allowedOrigins: values.texts("server", "allowed_origins"),
                hasCompactTools: values.flag("server", "compact_tools"),
                reloadProbation: values.duration("server", "reload_probation"),
                trustedProxies: values.texts("server", "trusted_proxies"), tls: tls),
            admin: GatewaySettings.Admin(
                hasPublicMetrics: values.flag("admin", "public_metrics"),
                controlSocket: values.text("admin", "control_socket") ?? "", local: values.texts("admin", "local"),
                requiresToken: values.flag("admin", "require_token"),
                listen: values.optionalAddress("admin", "listen")),
            storage: GatewaySettings.Storage(
                directory: storageDirectory, isShared: values.flag("storage", "replicas"),
                replicasMax: values.number("storage", "replicas_max"),
                adoptAfter: values.duration("storage", "adopt_after"),
                retention: values.duration("storage", "retention"),
                queueItemsMax: values.number("storage", "max_queue_items"),
                queueBytesMax: values.number("storage", "max_queue_bytes"),
                queuePerCallerMax: values.optionalNumber("storage", "max_queue_per_caller"),
                dropsOldest: values.text("storage", "when_full") == "drop_oldest",
                resultKept: values.duration("storage", "result_kept"),
                backupMinute: values.text("storage", "backup_at").flatMap(SettingsUnits.timeOfDay) ?? 0,
                backupsKept: values.number("storage", "backups_kept")),
            cache: GatewaySettings.Cache(bytesMax: values.number("cache", "max_bytes")),
            log: GatewaySettings.Log(
                directory: values.text("log", "directory") ?? "",
                level: values.text("log", "level").flatMap(GatewaySettings.Log.Level.init) ?? .info,
                format: values.text("log", "format").flatMap(GatewaySettings.Log.Format.init) ?? .text,
                slowCall: values.duration("log", "slow_call"),
                requestRowsPerSecond: values.number("log", "request_rows"),
                writesToStandardOutput: values.flag("log", "stdout"), rotateBytes: values.number("log", "rotate_at"),
                filesKept: values.number("log", "files_kept")),
            telemetry: GatewaySettings.Telemetry(
                collector: values.text("telemetry", "otlp_endpoint"),
                sampleRatio: values.ratio(["telemetry", "sample_ratio"])),
            limits: GatewaySettings.Limits(
                inFlightMax: values.number("limits", "max_in_flight"),
                waitingMax: values.number("limits", "max_waiting"), waitMax: values.duration("limits", "max_wait"),
                rate: rate(["limits"]), ratePerCaller: rate(["limits", "per_caller"])),
            auth: GatewaySettings.Auth(
                mode: values.text("auth", "mode").flatMap(GatewaySettings.Auth.Mode.init) ?? .none,
                allowsAnonymous: values.flag("auth", "allow_anonymous")),
            wasm: wasm(), upstreams: upstreams.map(upstream), tools: tools.map(tool))
    }

    /// As many at once as in a second, where the file does not say.
    private func rate(_ section: [String]) -> RateLimit? {
        guard let rate = values.optionalRatio(section + ["requests_per_second"]) else { return nil }
        let burst = values.optionalNumber(section + ["burst"]) ?? max(1, Int(rate.rounded(.up)))
        return RateLimit(perSecond: rate, burst: burst)
    }

    private var storageDirectory: String { values.text("storage", "directory") ?? "" }

    private func wasm() -> GatewaySettings.Wasm {
        let named = values.text("wasm", "library")
        return GatewaySettings.Wasm(
            libraries: named.map { [$0] } ?? values.installation.libraries, isLibraryNamed: named != nil,
            cacheDirectory: values.text("wasm", "cache"),
            workers: values.number("wasm", "workers"), waitingMax: values.number("wasm", "max_waiting"))
    }

    private func upstream(_ name: String) -> UpstreamSettings {
        let transport: UpstreamSettings.Transport
        if let url = values.text("upstreams", name, "url") {
            transport = .http(url: url, headers: values.secrets("upstreams", name, "headers"))
        } else {
            let command = values.text("upstreams", name, "command") ?? ""
            transport = .stdio(
                command: command.contains("/") ? SettingsUnits.absolute(command, in: folder) : command,
                arguments: values.texts("upstreams", name, "args"),
                environment: values.secrets("upstreams", name, "env"),
                directory: values.text("upstreams", name, "cwd"))
        }
        return UpstreamSettings(
            name: name, prefix: values.text("upstreams", name, "prefix") ?? name, transport: transport,
            timeout: values.duration("upstreams", name, "timeout"),
            breaker: breaker(["upstreams", name, "circuit_breaker"]),
            inFlightMax: values.number("upstreams", name, "max_in_flight"),
            waitingMax: values.number("upstreams", name, "max_waiting"),
            attemptsMax: values.number("upstreams", name, "retry", "attempts"),
            backoff: values.duration("upstreams", name, "retry", "backoff"),
            exposure: exposure("upstreams", name))
    }

    private func breaker(_ section: [String]) -> BreakerSettings {
        BreakerSettings(
            failures: values.ratio(section + ["failures"]), window: values.duration(section + ["window"]),
            callsMin: values.number(section + ["minimum_calls"]), openFor: values.duration(section + ["open_for"]),
            slowCall: values.optionalDuration(section + ["slow_call"]))
    }

    private func policy(_ name: String, _ tool: String) -> ToolPolicySettings {
        let breakerSection = ["upstreams", name, "tools", tool, "circuit_breaker"]
        let hasBreaker = values.written.keys.contains { $0.starts(with: breakerSection) }
        return ToolPolicySettings(
            offline: values.text("upstreams", name, "tools", tool, "offline")
                .flatMap(ToolPolicySettings.Offline.init) ?? .fail,
            expires: values.duration("upstreams", name, "tools", tool, "expires"),
            isIdempotent: values.flag("upstreams", name, "tools", tool, "idempotent"),
            priority: values.number("upstreams", name, "tools", tool, "priority"),
            cache: values.optionalDuration("upstreams", name, "tools", tool, "cache"),
            dedupe: values.optionalDuration("upstreams", name, "tools", tool, "dedupe"),
            rate: values.text("upstreams", name, "tools", tool, "rate").flatMap(SettingsUnits.rate),
            inFlightMax: values.optionalNumber("upstreams", name, "tools", tool, "max_in_flight"),
            hedge: values.optionalDuration("upstreams", name, "tools", tool, "hedge"),
            breaker: hasBreaker ? breaker(breakerSection) : nil)
    }

    private func modulePolicy(_ name: String, _ tool: String) -> ToolPolicySettings {
        var policy = ToolPolicySettings()
        policy.rate = values.text("tools", name, "tools", tool, "rate").flatMap(SettingsUnits.rate)
        return policy
    }

    private func exposure(_ section: String, _ name: String) -> ExposureSettings {
        var exposure = ExposureSettings(
            allowed: values.texts(section, name, "allow_tools"), denied: values.texts(section, name, "deny_tools"))
        let named = values.written.keys.filter {
            $0.count >= 5 && $0[0] == section && $0[1] == name && $0[2] == "tools"
        }
        for tool in Set(named.map { $0[3] }) {
            exposure.edits[tool] = ExposureSettings.Edit(
                name: values.text(section, name, "tools", tool, "name"),
                title: values.text(section, name, "tools", tool, "title"),
                description: values.text(section, name, "tools", tool, "description"),
                policy: section == "upstreams" ? policy(name, tool) : modulePolicy(name, tool))
        }
        return exposure
    }

    private func tool(_ name: String) -> ToolSettings {
        ToolSettings(
            name: name, prefix: values.text("tools", name, "prefix") ?? name,
            modulePath: values.text("tools", name, "module") ?? "",
            sha256: values.text("tools", name, "sha256"),
            memoryBytesMax: values.number("tools", name, "memory"),
            timeout: values.duration("tools", name, "timeout"),
            outputBytesMax: values.number("tools", name, "output"),
            inFlightMax: values.optionalNumber("tools", name, "max_in_flight"),
            config: values.secrets("tools", name, "config"),
            allowedEnvironment: values.texts("tools", name, "allow", "env"),
            directories: values.map("tools", name, "allow", "directories")
                .map { Self.directory($0, in: folder) }.sorted { $0.guestPath < $1.guestPath },
            allowsClock: values.flag("tools", name, "allow", "clock"),
            allowsRandom: values.flag("tools", name, "allow", "random"), exposure: exposure("tools", name))
    }

    /// `/srv/data`, `/srv/data:ro` or `/srv/data:rw`.
    static func directory(_ entry: SettingsValues.Entry, in folder: String) -> ToolSettings.Directory {
        let isWritable = entry.text.hasSuffix(":rw")
        let hasMode = isWritable || entry.text.hasSuffix(":ro")
        return ToolSettings.Directory(
            guestPath: SettingsUnits.absolute(entry.name, in: "/"),
            hostPath: SettingsUnits.absolute(String(entry.text.dropLast(hasMode ? 3 : 0)), in: folder),
            isWritable: isWritable)
    }
}

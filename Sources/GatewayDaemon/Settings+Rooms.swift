// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import HTTPListener
internal import Logging
internal import MCPFront
internal import Outbound
internal import Resilience
internal import Telemetry
internal import Upstreams
internal import WasmSandbox

/// From the words of the configuration to the settings of each room.
extension GatewaySettings.Log {
    var files: LogSettings {
        let level: Logger.Level =
            switch level {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            }
        return LogSettings(
            directory: directory, level: level, format: format == .json ? .json : .text,
            copy: writesToStandardOutput ? .standardOutput : .none, rotateBytes: rotateBytes, filesKept: filesKept)
    }
}

extension UpstreamSettings {
    /// A process gets the few variables every program expects, and what the file gives it; nothing else of the
    /// gateway's own environment, which may hold secrets of others.
    func room(base: [String: String]) -> Upstreams.UpstreamSettings {
        switch transport {
        case .http(let url, let headers):
            return Upstreams.UpstreamSettings(
                name: name,
                place: .http(url: url, headers: headers.map { (name: $0.name, value: $0.value.revealed) }),
                timeout: timeout)
        case .stdio(let command, let arguments, let environment, let directory):
            var variables: [String: String] = [:]
            for name in ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"] { variables[name] = base[name] }
            if variables["PATH"] == nil { variables["PATH"] = "/usr/local/bin:/usr/bin:/bin" }
            for one in environment { variables[one.name] = one.value.revealed }
            let child = ChildCommand(
                executable: command, arguments: arguments, environment: variables, workingDirectory: directory)
            return Upstreams.UpstreamSettings(name: name, place: .stdio(child), timeout: timeout)
        }
    }
}

extension ToolSettings {
    func room(environment: [String: String]) -> ModuleSettings {
        var granted: [String: String] = [:]
        for name in allowedEnvironment { granted[name] = environment[name] }
        return ModuleSettings(
            name: name, path: modulePath, sha256: sha256, memoryBytesMax: memoryBytesMax, timeout: timeout,
            outputBytesMax: outputBytesMax,
            config: Dictionary(config.map { ($0.name, $0.value.revealed) }) { first, _ in first },
            grants: ModuleGrants(
                environment: granted,
                directories: directories.map {
                    ModuleGrants.Directory(guest: $0.guestPath, host: $0.hostPath, readOnly: !$0.isWritable)
                },
                clock: allowsClock, random: allowsRandom))
    }
}

extension ExposureSettings {
    /// - Parameter patience: the longest a call takes.
    func room(patience: Duration) -> Exposure {
        Exposure(
            filter: NameFilter(allow: allowed.map(NamePattern.init), deny: denied.map(NamePattern.init)),
            edits: edits.mapValues {
                ToolEdit(
                    name: $0.name, title: $0.title, description: $0.description,
                    policy: $0.policy.room(patience: patience))
            })
    }
}

extension ToolPolicySettings {
    /// - Parameter patience: as for `BreakerSettings.room`.
    func room(patience: Duration) -> ToolPolicy {
        var policy = ToolPolicy()
        policy.offline =
            switch offline {
            case .fail: .fail
            case .queue: .queue
            case .stale: .stale
            }
        policy.expires = expires
        policy.isIdempotent = isIdempotent
        policy.priority = priority
        policy.cache = cache
        policy.dedupe = dedupe
        policy.rate = rate
        policy.inFlightMax = inFlightMax
        policy.hedge = hedge
        policy.breaker = breaker?.room(patience: patience)
        return policy
    }
}

extension UpstreamSettings {
    /// How calls go to it.
    func traffic(waitMax: Duration) -> TrafficSettings {
        var settings = TrafficSettings(breaker: breaker.room(patience: timeout))
        settings.inFlightMax = inFlightMax
        settings.waitingMax = waitingMax
        settings.waitMax = waitMax
        settings.attemptsMax = attemptsMax
        settings.backoff = backoff
        return settings
    }
}

extension GatewaySettings.TLS {
    func room() throws(ServerTLS.Fault) -> ServerTLS {
        let authorities = clientAuthorities.map { Array($0.utf8) }
        return try ServerTLS(
            certificate: Array(certificate.utf8), key: Array(key.revealed.utf8),
            clients: authorities.map { requiresClientCertificate ? .required($0) : .optional($0) } ?? .notAsked)
    }
}

extension GatewaySettings.Telemetry {
    /// Where traces go; nil when nothing is recorded.
    var traces: String? {
        collector.map { address in
            let query = address.firstIndex(of: "?") ?? address.endIndex
            let place = address[..<query]
            let base = place.hasSuffix("/") ? place.dropLast() : place
            return String(base.hasSuffix("/v1/traces") ? base : base + "/v1/traces") + address[query...]
        }
    }
}

extension GatewaySettings.Auth {
    var door: CallerDoor.Mode {
        switch mode {
        case .none: .open
        case .token: .token
        }
    }
}

extension ToolSettings {
    var traffic: TrafficSettings {
        var settings = TrafficSettings()
        settings.inFlightMax = inFlightMax
        return settings
    }
}

extension BreakerSettings {
    /// - Parameter patience: the longest a call takes; a probe that has not ended by then is given up.
    func room(patience: Duration) -> Breaker.Settings {
        Breaker.Settings(
            failures: failures, window: window, minimumCalls: callsMin, openFor: openFor,
            openForMax: max(openFor, .seconds(120)), slowCall: slowCall ?? max(patience, .seconds(1)),
            probePatience: max(patience, .seconds(1)))
    }
}

extension GatewaySettings {
    var pipeline: PipelineSettings {
        var pipeline = PipelineSettings(
            inFlightMax: limits.inFlightMax, timeout: server.requestTimeout, slowCall: log.slowCall,
            resultKept: storage.resultKept)
        pipeline.waitingMax = limits.waitingMax
        pipeline.waitMax = limits.waitMax
        pipeline.rate = limits.rate
        pipeline.ratePerCaller = limits.ratePerCaller
        return pipeline
    }

    var listenerLimits: HTTPLimits {
        HTTPLimits(
            bodyBytesMax: server.bodyBytesMax, connectionsMax: server.connectionsMax,
            receiveTimeout: server.headerTimeout)
    }

    var guardian: OriginGuard { guardian(of: server.listen) }

    /// The operators' address is a way to the same gateway, so it has the same names.
    func guardian(of address: ListenAddress) -> OriginGuard {
        OriginGuard(listenHost: address.host, hosts: server.allowedHosts, origins: server.allowedOrigins)
    }

    /// What is in front of the public listener. Throws when `[server.tls]` is not as it was when it was checked.
    func entrance() throws(ServerTLS.Fault) -> HTTPEntrance {
        HTTPEntrance(tls: try server.tls?.room(), proxies: proxies)
    }

    /// What is not an address has been refused, or could not be filled in by a check that is not strict.
    var proxies: TrustedProxies { TrustedProxies(server.trustedProxies.compactMap { try? AddressRange($0) }) }

    var store: StoreSettings {
        var settings = StoreSettings(
            directory: storage.directory, requestRowsPerSecond: log.requestRowsPerSecond,
            retention: storage.retention,
            backups: BackupSettings(at: SettingsUnits.text(timeOfDay: storage.backupMinute), kept: storage.backupsKept))
        settings.queueItemsMax = storage.queueItemsMax
        settings.queueBytesMax = Int64(storage.queueBytesMax)
        settings.queuePerCallerMax = storage.queuePerCallerMax ?? .max
        settings.whenFull = storage.dropsOldest ? .dropOldest : .refuse
        settings.resultKeep = storage.resultKept
        settings.cacheBytesMax = cache.bytesMax
        return settings
    }
}

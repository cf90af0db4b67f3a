// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc

/// Whether the service runs and can be reached where its clients look for it.
struct ServiceLook: Sendable {
    let settings: GatewaySettings
    let gateway: GatewayLook
    /// Whether the listener speaks TLS is not known then.
    let isGuessing: Bool

    private static let unit = "mcp-gateway"

    var findings: [Finding] { service + port }

    // MARK: The service

    private var service: [Finding] {
        let unit = Self.properties
        let isManaged = unit["LoadState"] == "loaded"
        if let trouble = gateway.trouble {
            return [
                Finding(
                    .urgent, "service", trouble,
                    next: gateway.isRunning ? "systemctl status \(Self.unit)" : "sudo mcp-gateway doctor")
            ]
        }
        guard gateway.isRunning else { return [stopped(unit, isManaged: isManaged)] }
        guard isManaged else { return [Finding(.well, "service", "a gateway runs, not as a service of systemd")] }
        let restarts = unit["NRestarts"].flatMap { Int($0) } ?? 0
        if unit["ActiveState"] != "active" {
            return [
                Finding(
                    .attention, "service",
                    "a gateway runs, but not the one of systemd, whose unit is \(unit["ActiveState"] ?? "?")",
                    next: "systemctl status \(Self.unit); pgrep -a mcp-gateway")
            ]
        }
        guard restarts == 0 else {
            let isRecent = Self.seconds(ofUptime: unit["ActiveEnterTimestampMonotonic"]).map { $0 < 86_400 } ?? true
            return [
                Finding(
                    isRecent ? .attention : .note, "service",
                    "systemd has restarted it \(NumberText.count(restarts, "time")) by itself",
                    next: "journalctl -u \(Self.unit) --since '1 day ago' | grep -iE 'main process exited|watchdog|oom'"
                )
            ]
        }
        return [Finding(.well, "service", "active since \(unit["ActiveEnterTimestamp"] ?? "?")")]
    }

    private func stopped(_ unit: [String: String], isManaged: Bool) -> Finding {
        guard isManaged else {
            return Finding(
                .urgent, "service", "no gateway runs here: nothing answers at \(settings.admin.controlSocket)",
                next: "mcp-gateway serve --config \(settings.sourcePath)")
        }
        let state = unit["ActiveState"] ?? "?"
        if state == "activating" || state == "deactivating" {
            return Finding(
                .attention, "service", "it is \(state)", next: "journalctl -u \(Self.unit) -n 50 --no-pager")
        }
        if unit["ExecMainStatus"] == "78" {
            return Finding(
                .urgent, "service", "it is \(state): it refused its configuration",
                next: "mcp-gateway validate-config --strict \(settings.sourcePath)")
        }
        guard state == "failed" else {
            return Finding(.urgent, "service", "it is stopped", next: "systemctl start \(Self.unit)")
        }
        return Finding(
            .urgent, "service",
            "it has ended by itself: \(unit["Result"] ?? "?"), status \(unit["ExecMainStatus"] ?? "?")",
            next: "journalctl -u \(Self.unit) -n 50 --no-pager")
    }

    /// What systemd says; empty where there is none.
    private static var properties: [String: String] {
        guard SettingsFiles.machine.kind("/run/systemd/system") == .directory else { return [:] }
        let wanted =
            "LoadState,ActiveState,Result,NRestarts,ExecMainStatus,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic"
        let lines = CommandOutput.of(["/usr/bin/systemctl", "show", unit, "--property=" + wanted]) ?? ""
        return Dictionary(
            lines.split(separator: "\n").compactMap { line in
                line.firstIndex(of: "=").map { (String(line[..<$0]), String(line[line.index(after: $0)...])) }
            }
        ) { first, _ in first }
    }

    /// How long ago that was, of microseconds since the machine started.
    private static func seconds(ofUptime text: String?) -> Int? {
        guard let at = text.flatMap({ UInt64($0) }), at > 0 else { return nil }
        let now = SystemTime().now().nanoseconds / 1_000
        return now > at ? Int((now - at) / 1_000_000) : 0
    }

    // MARK: The port

    private var port: [Finding] {
        let listen = settings.server.listen
        guard listen.port != 0 else { return [] }
        let look = "ss -tlnp | grep :\(listen.port)"
        let answer = PortProbe.ask(listen, isTLS: settings.server.tls != nil || isGuessing)
        switch (answer, gateway.isRunning) {
        case (.answered(let milliseconds), true):
            if milliseconds > 1_000 {
                return [
                    Finding(
                        .attention, "port", "/health at \(listen) takes \(NumberText.of(milliseconds: milliseconds))",
                        next: "mcp-gateway top")
                ]
            }
            let words = "\(listen) answers within \(NumberText.of(milliseconds: max(0.1, milliseconds)))"
            return [Finding(.well, "port", words)]
        case (.open, true): return [Finding(.well, "port", "\(listen) takes connections")]
        case (.silent, true):
            return [Finding(.urgent, "port", "\(listen) takes connections, and nobody answers there", next: look)]
        case (.refused(let why), true):
            return [
                Finding(
                    .urgent, "port",
                    "a gateway runs, but nobody listens at \(listen) (\(why)): is it another one, or a file that waits "
                        + "for a restart?", next: look)
            ]
        case (.answered, false), (.open, false), (.silent, false):
            return [
                Finding(
                    .urgent, "port", "another program has \(listen), so that the gateway cannot start there",
                    next: look)
            ]
        case (.refused, false): return []
        }
    }
}

/// Asks `/health` over TCP, as a client would.
enum PortProbe {
    enum Answer: Sendable, Equatable {
        case answered(milliseconds: Double)
        /// Nothing was said: with TLS that needs more than a look.
        case open
        case silent
        case refused(String)
    }

    private static let patience = 2

    static func ask(_ address: ListenAddress, isTLS: Bool) -> Answer {
        let time = SystemTime()
        let begun = time.now()
        let connection: Int32
        switch connect(address) {
        case .success(let made): connection = made
        case .failure(let refusal): return .refused(refusal.words)
        }
        defer { close(connection) }
        if isTLS { return .open }
        let request = Array("GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n".utf8)
        let sent = unsafe request.withUnsafeBytes {
            unsafe send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        var head = [UInt8](repeating: 0, count: 64)
        let count = unsafe head.withUnsafeMutableBytes { unsafe recv(connection, $0.baseAddress, $0.count, 0) }
        guard sent == request.count, count >= 12, head.starts(with: Array("HTTP/1.".utf8)) else { return .silent }
        return .answered(milliseconds: time.now().since(begun).milliseconds)
    }

    private static func connect(_ address: ListenAddress) -> Result<Int32, StartError> {
        // What listens everywhere listens here too.
        let host =
            switch address.host {
            case "localhost", "0.0.0.0": "127.0.0.1"
            case "::": "::1"
            default: address.host
            }
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(host, String(address.port), &hints, &found) == 0, let place = unsafe found else {
            return .failure(StartError("\(host) is no address"))
        }
        defer { unsafe freeaddrinfo(place) }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let connection = unsafe socket(place.pointee.ai_family, kind, 0)
        guard connection >= 0 else { return .failure(StartError(SystemText.of(errno))) }
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        for option in [SO_SNDTIMEO, SO_RCVTIMEO] {
            unsafe setsockopt(connection, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        if unsafe Glibc.connect(connection, place.pointee.ai_addr, place.pointee.ai_addrlen) == 0 {
            return .success(connection)
        }
        let reason = SystemText.of(errno)
        close(connection)
        return .failure(StartError(reason))
    }
}

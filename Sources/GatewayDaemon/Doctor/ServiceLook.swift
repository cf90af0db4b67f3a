// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc

/// Whether the service runs and can be reached where its clients look for it.
struct ServiceLook: Sendable {
    let settings: GatewaySettings
    let gateway: GatewayLook
    let commands: NextCommands
    /// What systemd says of its unit; empty where it has none.
    let unit: [String: String]
    /// Whether the listener speaks TLS is not known then.
    let isGuessing: Bool
    /// The file could not be read at all, so that it may be another gateway's place that is looked at.
    let isBlind: Bool

    var findings: [Finding] {
        let port = port
        // What keeps a gateway from starting stands before that it does not run.
        return gateway.isRunning ? service + port : port + (port.isEmpty ? service : service.map(waiting(for:)))
    }

    private func waiting(for service: Finding) -> Finding {
        Finding(service.rank, service.area, service.words + "; another program has its port", next: portLook)
    }

    // MARK: The service

    private var service: [Finding] {
        if let trouble = gateway.trouble {
            let next = gateway.hasLostSocket ? commands.restart(gateway.folder ?? settings.storage.directory) : nil
            return [Finding(.urgent, "service", trouble, next: next ?? commands.look)]
        }
        guard gateway.isRunning else { return [stopped] }
        guard commands.isManaged else {
            return [Finding(.well, "service", "a gateway runs, not as a service of systemd")]
        }
        let restarts = unit["NRestarts"].flatMap { Int($0) } ?? 0
        if unit["ActiveState"] != "active" {
            return [
                Finding(
                    .attention, "service",
                    "a gateway runs, but not the one of systemd, whose unit is \(unit["ActiveState"] ?? "?")",
                    next: "systemctl status \(NextCommands.unit); pgrep -a mcp-gateway")
            ]
        }
        guard restarts == 0 else {
            let isRecent = Self.seconds(ofUptime: unit["ActiveEnterTimestampMonotonic"]).map { $0 < 86_400 } ?? true
            return [
                Finding(
                    isRecent ? .attention : .note, "service",
                    "systemd has restarted it \(NumberText.count(restarts, "time")) by itself",
                    next: "journalctl -u \(NextCommands.unit) --since '1 day ago' | "
                        + "grep -iE 'main process exited|watchdog|oom'")
            ]
        }
        return [Finding(.well, "service", "active since \(unit["ActiveEnterTimestamp"] ?? "?")")]
    }

    private var stopped: Finding {
        let journal = "journalctl -u \(NextCommands.unit) -n 50 --no-pager"
        let socket = settings.admin.controlSocket
        guard commands.isManaged else {
            let words = "no gateway runs here: nothing answers at \(socket)"
            return isBlind
                ? Finding(
                    .attention, "service",
                    words + ", where one usually is; this one's may be elsewhere, since its file cannot be read",
                    next: commands.look)
                : Finding(.urgent, "service", words, next: commands.start)
        }
        let state = unit["ActiveState"] ?? "?"
        switch state {
        case "active":
            return Finding(
                .urgent, "service",
                "systemd says that it is active, but nothing answers at \(socket)"
                    + (isBlind ? ", which is a guess, since its file cannot be read" : ""), next: commands.look)
        case "activating", "deactivating": return Finding(.attention, "service", "it is \(state)", next: journal)
        default: break
        }
        if unit["ExecMainStatus"] == "78" {
            return Finding(
                .urgent, "service", "it is \(state): it refused its configuration",
                next: "mcp-gateway validate-config --strict \(NextCommands.quoted(settings.sourcePath))")
        }
        guard state == "failed" else {
            return Finding(.urgent, "service", "it is stopped", next: commands.start)
        }
        return Finding(
            .urgent, "service",
            "it has ended by itself: \(unit["Result"] ?? "?"), status \(unit["ExecMainStatus"] ?? "?")",
            next: journal)
    }

    /// What systemd says; empty where there is none.
    static var properties: [String: String] {
        guard SettingsFiles.machine.kind("/run/systemd/system") == .directory else { return [:] }
        let wanted =
            "LoadState,ActiveState,Result,NRestarts,ExecStart,ExecMainStatus,ActiveEnterTimestamp,"
            + "ActiveEnterTimestampMonotonic"
        let command = ["/usr/bin/systemctl", "show", NextCommands.unit, "--property=" + wanted]
        let lines = CommandOutput.of(command) ?? ""
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

    private var portLook: String { "ss -tlnp | grep :\(settings.server.listen.port)" }

    private var port: [Finding] {
        let listen = settings.server.listen
        guard listen.port != 0, gateway.listens else { return [] }
        let look = portLook
        let isTLS = settings.server.tls != nil || gateway.certificateExpires != nil
        let answer = PortProbe.ask(listen, isTLS: isTLS || isGuessing)
        switch (answer, gateway.isRunning) {
        case (.answered(let milliseconds), true):
            if milliseconds > 1_000 {
                return [
                    Finding(
                        .attention, "port", "/health at \(listen) takes \(NumberText.of(milliseconds: milliseconds))",
                        next: commands.verb("top"))
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
            // It may be our own, whose file cannot be read.
            guard !isBlind, !commands.isManaged || unit["ActiveState"] != "active" else { return [] }
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

// Licensed under the Apache License 2.0; see LICENSE.

internal import AdminPlane
internal import CHost
internal import DurableStore
internal import Gateway
internal import GatewayCore
internal import Glibc
internal import HTTPListener
internal import Logging
internal import MCPFront
internal import NIOCore
internal import NIOPosix
internal import Telemetry
internal import Upstreams
internal import WasmSandbox

/// The life of the serving process: open, serve until told to stop, close.
package struct Daemon: Sendable {
    private let settings: GatewaySettings
    private let environment: [String: String]
    /// Whether clients are served over the network, and not only over the sockets of this machine.
    private let listens: Bool

    package init(settings: GatewaySettings, environment: [String: String], listens: Bool = true) {
        self.settings = settings
        self.environment = environment
        self.listens = listens
    }

    /// Serves until TERM or INT, and returns when everything is closed.
    ///
    /// - Parameter announce: takes the few lines a person at a terminal wants to see once calls are answered.
    package func run(signals: SignalSource, announce: @escaping @Sendable (String) -> Void) async throws(StartError) {
        try leaveRoot()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        // First of all, so that no child inherits what the service manager hands over.
        var sockets = SocketStore(environment: environment)
        let source = Reloader.Source(
            environment: environment, installation: Installation.current(), isQuiet: !listens)
        let assembly = try await Assembly.make(settings, source: source, group: group)
        do {
            try await serve(assembly, &sockets, signals: signals, announce: announce)
        } catch {
            await close(assembly)
            throw error as? StartError ?? StartError("\(error)")
        }
        await close(assembly)
    }

    /// Root becomes the owner of the storage directory before anything is opened. Threads that have begun by now would
    /// keep the rights of root, so the process begins anew as that user: same program, same arguments.
    private func leaveRoot() throws(StartError) {
        do throws(StoreError) {
            guard try StorageOwner.become(of: settings.storage.directory) != nil else { return }
        } catch { throw StartError(error.text) }
        // By its own path: of what is begun as /proc/self/exe no pgrep finds the name. Where the user may not run it,
        // as in a checkout of root's, the rights are left all the same, but for a thread that only sleeps.
        _ = unsafe execv(Installation.currentExecutable(), CommandLine.unsafeArgv)
    }

    private func serve(
        _ assembly: Assembly, _ sockets: inout SocketStore, signals: SignalSource,
        announce: @escaping @Sendable (String) -> Void
    ) async throws {
        let control = try await openControlSocket(assembly)
        let socket = ControlSocketFile(path: settings.admin.controlSocket)
        let lines: LineListener
        let listener: HTTPListener?
        let admin: HTTPListener?
        do {
            lines = try await LineListener.start(assembly)
            listener = listens ? try await openListener(assembly, &sockets) : nil
            // Behind the other, which may have held this port before the file was changed.
            admin = listens ? try await openAdminListener(assembly) : nil
        } catch {
            await control.stop(grace: .zero)
            socket.remove()
            throw error
        }
        assembly.store.noteListening(port: listener?.port ?? settings.server.listen.port)
        let isKept = keep(listener, in: sockets)
        assembly.reloader.begin(assembly, listener: listener, admin: admin, control: control)
        let (stream, channel) = try await signals.open(on: assembly.group.next())

        let upkeep = Task {
            async let trimming: Void = assembly.trimWhenIdle()
            async let watching: Void = watch(assembly)
            async let sendingTraces: Void = assembly.tracing.run()
            await assembly.upstreams.run {
                assembly.pipeline.offersChanged()
            } returned: { upstream in
                assembly.pipeline.ownerReturned(upstream)
            } updated: { upstream, uri in
                assembly.pipeline.updated(uri, of: upstream)
            }
            await trimming
            await watching
            await sendingTraces
        }
        let adopting = Task { await assembly.replicas.run(assembly) }
        let sending = Task { await assembly.pipeline.sendStoredCalls(on: assembly.loops) }
        notify("READY=1")
        let place = listener.map(address) ?? settings.admin.messageSocket
        assembly.log.info("serving", metadata: [LogKey.address: "\(place)", LogKey.pid: "\(getpid())"])
        let greeting = Task { if listener != nil { await announceWhenListed(assembly, place, announce) } }

        for await signal in stream {
            if signal == .stop { break }
            await obey(signal, assembly)
        }

        greeting.cancel()
        await stop(
            assembly, listener, lines, sending: sending, adopting: adopting, leavesQueue: isKept)
        // Operators see how it ends.
        await admin?.stop(grace: .seconds(1))
        await control.stop(grace: .seconds(1))
        socket.remove()
        upkeep.cancel()
        await upkeep.value
        // A channel that is closed already is what we want.
        try? await channel.close().get()
    }

    /// What runs may end, for `server.shutdown_grace`; nothing new begins.
    private func stop(
        _ assembly: Assembly, _ listener: HTTPListener?, _ lines: LineListener, sending: Task<Void, Never>,
        adopting: Task<Void, Never>, leavesQueue: Bool
    ) async {
        let grace = assembly.reloader.settings.server.shutdownGrace
        assembly.log.info("stopping", metadata: [LogKey.grace: "\(grace)"])
        notify("STOPPING=1")
        if leavesQueue { await listener?.leaveQueue() }
        assembly.drain()
        let ends = Deadline(assembly.time.now() + grace)
        let ending = { @Sendable in
            assembly.pipeline.cutOff()
            assembly.oldEndpoint.endWork()
        }
        async let linesEnd: Void = lines.stop(grace: grace, ending: ending)
        await listener?.stop(grace: grace, ending: ending)
        await linesEnd
        await assembly.pipeline.finishDetached(within: ends.remaining(at: assembly.time.now()))
        await end(sending, within: ends.remaining(at: assembly.time.now()))
        await end(adopting, within: ends.remaining(at: assembly.time.now()))
    }

    /// Stored calls on their way may end, as those of clients may.
    private func end(_ sending: Task<Void, Never>, within grace: Duration) async {
        let timer = Task {
            // Ends early when there is nothing to wait for.
            do { try await Task.sleep(for: grace) } catch { return }
            sending.cancel()
        }
        await sending.value
        timer.cancel()
    }

    private func close(_ assembly: Assembly) async {
        assembly.sandbox.shutdown()
        assembly.log.info("stopped")
        assembly.store.close()
        // Loops that do not end in time end with the process.
        try? await assembly.group.shutdownGracefully()
    }

    private func obey(_ signal: OperatorSignal, _ assembly: Assembly) async {
        switch signal {
        case .stop: break
        case .releaseMemory: await assembly.releaseMemory()
        case .reopenLogs:
            do {
                try assembly.logs.reopen()
                assembly.log.info("log files opened anew")
            } catch {
                assembly.log.warning("log files could not be opened anew", metadata: [LogKey.detail: "\(error.text)"])
            }
        case .reload:
            // A module may have to be compiled; TERM must not wait for that. What came of it is in the log.
            Task { _ = try? await assembly.reloader.reload(by: "HUP") }
        }
    }

    /// Has the service manager hold the listening socket from here on: so a restart loses no connection, and a stop
    /// leaves nothing behind.
    private func keep(_ listener: HTTPListener?, in sockets: SocketStore) -> Bool {
        guard settings.server.listen.port != 0 else { return false }
        return listener?.withListeningDescriptor { sockets.keep($0, name: SocketStore.listener) } ?? false
    }

    /// Looks once a second at what nobody tells.
    private func watch(_ assembly: Assembly) async {
        let hasWatchdog = environment["WATCHDOG_USEC"] != nil
        var lastRelease = assembly.time.now()
        while true {
            // Cancelled means that the gateway is stopping.
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            // A gateway whose loops stand still is one to be restarted.
            if hasWatchdog, assembly.loopWatch.stall == nil { notify("WATCHDOG=1") }
            await assembly.lookAround(&lastRelease)
        }
    }

    // MARK: Listeners

    /// On the socket that the service manager has kept for us, or on a new one.
    private func openListener(
        _ assembly: Assembly, _ sockets: inout SocketStore
    ) async throws(StartError) -> HTTPListener {
        let listen = settings.server.listen
        let kept = sockets.take(name: SocketStore.listener, address: listen)
        let place: HTTPListener.Address =
            kept.map { .inherited(descriptor: $0) } ?? .tcp(host: listen.host, port: listen.port)
        do {
            return try await HTTPListener.start(
                place, router: assembly.router(settings), limits: settings.listenerLimits,
                guardian: settings.guardian, entrance: try settings.entrance(), group: assembly.group,
                time: assembly.time, metrics: assembly.metrics, security: assembly.logs, warn: assembly.warn)
        } catch let error as ServerTLS.Fault {
            throw StartError("cannot speak TLS: a file of server.tls \(error.words)")
        } catch {
            throw Self.refusal(of: listen, "server.listen", error)
        }
    }

    /// The operators' own address; nil where the file names none.
    private func openAdminListener(_ assembly: Assembly) async throws(StartError) -> HTTPListener? {
        guard let listen = settings.admin.listen else { return nil }
        do {
            let admin = try await HTTPListener.start(
                .tcp(host: listen.host, port: listen.port), kind: .admin, router: assembly.adminRouter(settings),
                limits: settings.listenerLimits, guardian: settings.guardian(of: listen),
                entrance: HTTPEntrance(proxies: settings.proxies), group: assembly.group, time: assembly.time,
                metrics: assembly.metrics, security: assembly.logs, warn: assembly.warn)
            let place = ListenAddress(host: listen.host, port: admin.port ?? listen.port)
            assembly.log.info("operators have an address of their own", metadata: [LogKey.address: "\(place)"])
            return admin
        } catch {
            throw Self.refusal(of: listen, "admin.listen", error)
        }
    }

    private static func refusal(of listen: ListenAddress, _ key: String, _ error: any Error) -> StartError {
        let reason = (error as? IOError).map { SystemText.of($0.errnoCode) } ?? "\(error)"
        return StartError(
            "cannot listen on \(listen): \(reason). If another program has the port, "
                + "(ss -tlnp | grep :\(listen.port)) names it: stop it or change \(key)")
    }

    private func openControlSocket(_ assembly: Assembly) async throws(StartError) -> HTTPListener {
        let path = settings.admin.controlSocket
        ControlSocketFile.makeFolder(of: path)
        if ControlClient(socketPath: path).isAnswered {
            throw StartError(
                "another gateway answers at the control socket \(path); stop it, or change admin.control_socket here"
            )
        }
        do {
            let control = try await HTTPListener.start(
                .unix(path: path), router: assembly.controlRouter(settings), limits: settings.listenerLimits,
                guardian: nil,
                group: assembly.group, time: assembly.time, metrics: assembly.metrics)
            // The folder keeps strangers out while the mode is still being set.
            unsafe chmod(path, 0o660)
            return control
        } catch {
            let reason = (error as? IOError).map { SystemText.of($0.errnoCode) } ?? "\(error)"
            throw StartError(
                "cannot open the control socket \(path): \(reason). Change admin.control_socket, or its folder's rights"
            )
        }
    }

    private func address(_ listener: HTTPListener) -> String {
        let listen = settings.server.listen
        return ListenAddress(
            host: listen.isEverywhere ? "127.0.0.1" : listen.host, port: listener.port ?? listen.port
        ).description
    }

    /// Gives the upstreams a moment to tell their tools, then says what there is.
    private func announceWhenListed(
        _ assembly: Assembly, _ address: String, _ announce: @Sendable (String) -> Void
    ) async {
        for _ in 0..<30 {
            if assembly.upstreams.components().allSatisfy({ $0.status == .healthy }) { break }
            // Ends early only when the gateway is stopping already.
            do { try await Task.sleep(for: .milliseconds(100)) } catch { return }
        }
        announce(Announcement.text(assembly, address: address))
    }

    private func notify(_ state: String) {
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else { return }
        _ = unsafe csystem_sd_notify(path, state)
    }
}

extension Assembly {
    /// A warning of a listener, which has no logger of its own.
    fileprivate var warn: HTTPListener.Warning {
        let log = logs.logger(component: LogComponent.front)
        return { words, facts in
            log.warning("\(words)", metadata: Logger.Metadata(uniqueKeysWithValues: facts.map { ($0, "\($1)") }))
        }
    }
}

/// The control socket as a file.
struct ControlSocketFile {
    private let path: String
    private let identity: UInt64?

    /// Remembers which file it is.
    init(path: String) {
        self.path = path
        identity = Self.identity(of: path)
    }

    /// Removes it, unless somebody else's is there by now.
    func remove() {
        if identity != nil, Self.identity(of: path) == identity { unsafe unlink(path) }
    }

    private static func identity(of path: String) -> UInt64? {
        var entry = stat()
        return unsafe lstat(path, &entry) == 0 ? UInt64(entry.st_ino) : nil
    }

    /// Makes the folder of the socket, for the owner and its group only. If that is not possible, binding says why.
    static func makeFolder(of path: String) {
        var made = ""
        for part in path.split(separator: "/").dropLast() {
            made += "/\(part)"
            unsafe mkdir(made, 0o750)
        }
    }
}

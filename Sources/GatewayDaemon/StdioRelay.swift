// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import NIOPosix

/// `mcp-gateway stdio`: one MCP client on standard input and output.
///
/// A gateway that runs already from the same configuration serves it, so that limits, queue and connections exist once.
/// Where none runs, this process becomes one for as long as its client stays, without a network listener; other stdio
/// clients then share it.
package struct StdioRelay: Sendable {
    private let settings: GatewaySettings
    private let environment: [String: String]

    package init(settings: GatewaySettings, environment: [String: String]) {
        var settings = settings
        // Standard output is the client's.
        settings.log.writesToStandardOutput = false
        self.settings = settings
        self.environment = environment
    }

    /// Until the client or the gateway ends.
    package func run() async throws(StartError) {
        if try await serveByRunning() { return }
        // Only a gateway has something to close when it is told to end; a relay just ends.
        let signals = try SignalSource()
        let gateway = Daemon(settings: settings, environment: environment, listens: false)
        let ended = Latch()
        let serving = Task { () -> StartError? in
            defer { ended.open() }
            do throws(StartError) {
                try await gateway.run(signals: signals) { _ in }
                return nil
            } catch {
                return error
            }
        }
        guard let own = await connectSoon(unless: ended) else {
            if let problem = await serving.value { throw problem }
            throw StartError("the gateway did not come up")
        }
        do throws(StartError) { _ = try await relay(own) } catch {
            await Self.stop(serving)
            throw error
        }
        await Self.stop(serving)
    }

    /// Has a gateway that runs serve the client, until one of them ends; false when none runs.
    package func serveByRunning() async throws(StartError) -> Bool {
        guard let running = connect() else { return false }
        guard try await relay(running) == .byGateway else { return true }
        throw StartError("the gateway that served this client has stopped; begin anew")
    }

    /// Who had nothing more to say first.
    private enum Ending: Sendable { case byClient, byGateway }

    /// The gateway in this process is told as an operator would tell it.
    private static func stop(_ serving: Task<StartError?, Never>) async {
        kill(getpid(), SIGTERM)
        _ = await serving.value
    }

    private func connect() -> Int32? {
        try? ControlClient(socketPath: settings.admin.messageSocket).connect()
    }

    /// Modules may have to be compiled first, which takes seconds. Another process may have been quicker, and serves.
    private func connectSoon(unless ended: Latch) async -> Int32? {
        for _ in 0..<1_200 {
            if let descriptor = connect() { return descriptor }
            if ended.isOpen { return connect() }
            // Ends early only when the process is told to end.
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return nil }
        }
        return nil
    }

    /// Carries bytes both ways, on a thread of its own because it waits in the kernel.
    private func relay(_ socket: Int32) async throws(StartError) -> Ending {
        defer { close(socket) }
        do {
            return try await NIOThreadPool.singleton.runIfActive { try Self.pump(socket) }
        } catch {
            throw error as? StartError ?? StartError("\(error)")
        }
    }

    /// Until both sides have said everything.
    private static func pump(_ socket: Int32) throws(StartError) -> Ending {
        var (toGateway, toClient) = (Lane(from: STDIN_FILENO, to: socket), Lane(from: socket, to: STDOUT_FILENO))
        while !toClient.isOver {
            var waits: [pollfd] = []
            if let wait = toGateway.wait { waits.append(wait) }
            if let wait = toClient.wait { waits.append(wait) }
            guard unsafe poll(&waits, nfds_t(waits.count), -1) >= 0 || errno == EINTR else {
                throw StartError("cannot wait for the client: \(SystemText.of(errno))")
            }
            for wait in waits where wait.revents != 0 {
                if toGateway.concerns(wait) { toGateway.move() }
                if toClient.concerns(wait) { toClient.move() }
            }
            if toGateway.isOver, !toGateway.isClosed {
                toGateway.isClosed = true
                // The client says no more; its answers still come.
                shutdown(socket, Int32(SHUT_WR))
            }
        }
        return toGateway.isOver ? .byClient : .byGateway
    }

    /// One direction: what was read and not written yet.
    private struct Lane {
        let from: Int32
        let to: Int32
        private var held: ArraySlice<UInt8> = []
        private var isAtEnd = false
        var isClosed = false

        init(from: Int32, to: Int32) {
            self.from = from
            self.to = to
        }

        var isOver: Bool { isAtEnd && held.isEmpty }

        /// What this direction waits for now: room to write when it holds something, else something to read.
        var wait: pollfd? {
            if !held.isEmpty { return pollfd(fd: to, events: Int16(POLLOUT), revents: 0) }
            return isAtEnd ? nil : pollfd(fd: from, events: Int16(POLLIN), revents: 0)
        }

        func concerns(_ wait: pollfd) -> Bool {
            self.wait.map { $0.fd == wait.fd && $0.events == wait.events } ?? false
        }

        mutating func move() {
            if held.isEmpty {
                var piece = [UInt8](repeating: 0, count: 65_536)
                let count = unsafe piece.withUnsafeMutableBytes { unsafe read(from, $0.baseAddress, $0.count) }
                if count > 0 {
                    held = piece[..<count]
                } else if count == 0 || (errno != EINTR && errno != EAGAIN) {
                    isAtEnd = true
                }
                return
            }
            // At most what a pipe takes without blocking once it says that it has room.
            let part = held.prefix(4_096)
            let count = unsafe part.withUnsafeBytes { unsafe write(to, $0.baseAddress, $0.count) }
            if count > 0 {
                held = held.dropFirst(count)
            } else if errno != EINTR, errno != EAGAIN {
                // The other side is gone: what it was to get goes nowhere.
                held = []
                isAtEnd = true
            }
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPFront
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// The Unix socket that speaks MCP, one message a line: what `mcp-gateway stdio` connects its client to.
final class LineListener: Sendable {
    private let channel: any Channel
    private let socket: ControlSocketFile
    private let open: OpenChannels

    /// Connections of local clients at a time.
    private static let connectionsMax = 256

    private final class OpenChannels: Sendable {
        let clients = Mutex<[ObjectIdentifier: (channel: any Channel, handler: LineClientHandler)]>([:])
    }

    private init(channel: any Channel, socket: ControlSocketFile, open: OpenChannels) {
        self.channel = channel
        self.socket = socket
        self.open = open
    }

    static func start(_ assembly: Assembly) async throws(StartError) -> LineListener {
        let path = assembly.reloader.settings.admin.messageSocket
        let open = OpenChannels()
        do {
            let channel = try await ServerBootstrap(group: assembly.group)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { channel in
                    let handler = LineClientHandler(
                        service: assembly.pipeline, bodyBytesMax: assembly.reloader.settings.server.bodyBytesMax,
                        caller: .anonymous, time: assembly.time)
                    let isFull = open.clients.withLock { clients in
                        guard clients.count < connectionsMax else { return true }
                        clients[ObjectIdentifier(channel)] = (channel, handler)
                        return false
                    }
                    guard !isFull else { return channel.close() }
                    channel.closeFuture.whenComplete { _ in
                        _ = open.clients.withLock { $0.removeValue(forKey: ObjectIdentifier(channel)) }
                    }
                    return channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                }
                .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
            // The folder keeps strangers out while the mode is still being set.
            unsafe chmod(path, 0o660)
            return LineListener(channel: channel, socket: ControlSocketFile(path: path), open: open)
        } catch {
            throw StartError(
                "cannot open the socket \(path): \(error). Change admin.control_socket, beside which it lies")
        }
    }

    private static let lastWords = Duration.milliseconds(500)

    /// Takes no new client. Those that are here get the answers they wait for, and are closed when they have them. When
    /// the grace is over their calls are ended, and half a second later they are closed.
    ///
    /// - Parameter ending: called before calls are ended.
    func stop(grace: Duration, ending: @escaping @Sendable () -> Void) async {
        // Closing what is closed already is what we want.
        _ = try? await channel.close().get()
        let clients = open.clients.withLock { Array($0.values) }
        for client in clients {
            client.channel.eventLoop.execute { client.handler.stop(client.channel) }
        }
        let loop = channel.eventLoop
        let timers = [
            loop.scheduleTask(in: .nanoseconds(grace.nanosecondsClamped)) {
                ending()
                for client in clients { client.channel.eventLoop.execute { client.handler.endWork() } }
            },
            loop.scheduleTask(in: .nanoseconds((grace + Self.lastWords).nanosecondsClamped)) {
                for client in clients { client.channel.close(promise: nil) }
            },
        ]
        _ = try? await EventLoopFuture.whenAllComplete(clients.map(\.channel.closeFuture), on: loop).get()
        for timer in timers { timer.cancel() }
        socket.remove()
    }
}

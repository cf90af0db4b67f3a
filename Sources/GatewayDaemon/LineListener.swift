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
        let channels = Mutex<[ObjectIdentifier: any Channel]>([:])
    }

    private init(channel: any Channel, socket: ControlSocketFile, open: OpenChannels) {
        self.channel = channel
        self.socket = socket
        self.open = open
    }

    static func start(_ assembly: Assembly) async throws(StartError) -> LineListener {
        let path = assembly.settings.admin.messageSocket
        let open = OpenChannels()
        do {
            let channel = try await ServerBootstrap(group: assembly.group)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { channel in
                    let isFull = open.channels.withLock { channels in
                        guard channels.count < connectionsMax else { return true }
                        channels[ObjectIdentifier(channel)] = channel
                        return false
                    }
                    guard !isFull else { return channel.close() }
                    channel.closeFuture.whenComplete { _ in
                        open.channels.withLock { $0[ObjectIdentifier(channel)] = nil }
                    }
                    return channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            LineClientHandler(
                                service: assembly.pipeline, bodyBytesMax: assembly.settings.server.bodyBytesMax,
                                caller: .anonymous, time: assembly.time))
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

    /// Takes nothing new, tells the clients that nothing more is coming, and closes.
    func stop(grace: Duration) async {
        // Closing what is closed already is what we want.
        _ = try? await channel.close().get()
        for one in open.channels.withLock({ Array($0.values) }) { _ = try? await one.close().get() }
        socket.remove()
    }
}

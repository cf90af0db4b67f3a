// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore
import NIOPosix

/// Listens on a random loopback port and gives every connection one handler of the test's own.
package struct ChannelSite: Sendable {
    package let port: Int
    private let channel: any Channel

    /// - Parameter halfCloses: a client that says no more may go on listening; else it is gone then.
    package static func start(
        halfCloses: Bool = true, _ handler: @escaping @Sendable () -> any ChannelHandler & Sendable
    ) async throws -> ChannelSite {
        let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelOption(.allowRemoteHalfClosure, value: halfCloses)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler()) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ChannelSite(port: channel.localAddress?.port ?? 0, channel: channel)
    }

    /// Runs `body` with a client and stops listening.
    package func client<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
        defer { channel.close(promise: nil) }
        return try await ScriptedClient.with(port: port, body)
    }
}

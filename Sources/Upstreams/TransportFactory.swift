// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// Makes transports to one server, of the kind that it turned out to speak.
final class TransportFactory: Sendable {
    enum Place: Sendable {
        /// One pool of connections for all conversations.
        case http(HTTPTransport)
        /// A process for each conversation.
        case stdio(@Sendable () -> StdioTransport)
    }

    private let place: Place
    private let loop: any EventLoop
    private let time: any TimeSource
    private let usesEventSource = Mutex(false)

    init(_ place: Place, loop: any EventLoop, time: any TimeSource) {
        self.place = place
        self.loop = loop
        self.time = time
    }

    func make() -> any Transport {
        switch place {
        case .stdio(let make): return make()
        case .http(let http):
            guard usesEventSource.withLock({ $0 }) else { return http }
            return EventSourceTransport(http: http, loop: loop, time: time)
        }
    }

    /// From here on the other HTTP transport; false where there is only one kind.
    func change() -> Bool {
        guard case .http = place else { return false }
        usesEventSource.withLock { $0.toggle() }
        return true
    }

    /// How fast the server wants to be asked; a process never says.
    var pace: Pace {
        if case .http(let http) = place { http.pace } else { Pace() }
    }

    /// Ends what all conversations share.
    func close() async {
        if case .http(let http) = place { await http.close() }
    }
}

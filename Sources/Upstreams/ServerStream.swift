// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// One open stream of a server's own, which is begun anew after a break, with a growing pause when it does not last.
final class ServerStream: Sendable {
    let generation: Int
    let uris: Set<String>
    private let opened = Latch()
    private let task: Task<Void, Never>
    private let loop: any EventLoop

    /// A server that hangs up at once is not called again at once, whatever it says.
    private static let pauses = Duration.milliseconds(250)...(.seconds(30))
    /// A stream that lasted this long was a good one: many proxies cut every minute.
    private static let lasting = Duration.seconds(20)

    /// - Parameters:
    ///   - filter: what to listen for, in the era of `subscriptions/listen`; nil for the stream of a session.
    ///   - ended: called when it is over for good.
    init(
        _ upstream: Upstream, _ link: ServerLink, _ era: Era, _ generation: Int, _ uris: Set<String>, filter: String?,
        ended: @escaping @Sendable () -> Void
    ) {
        self.generation = generation
        self.uris = uris
        loop = upstream.loop
        let opened = opened
        // Ends when it is cancelled, or when the server has no stream to offer.
        task = Task(executorPreference: LoopExecutor(upstream.loop)) {
            var failures = 0
            var lastEvent: String?
            var mustLook = false
            while !Task.isCancelled {
                let began = upstream.time.now()
                let isOpened: @Sendable () -> Void = { [mustLook] in
                    opened.open()
                    // Nothing is repeated that was said meanwhile: what there is has to be asked for.
                    if mustLook { upstream.wakeUp() }
                }
                let end =
                    if let filter {
                        await Self.listen(upstream, link, filter, opened: isOpened)
                    } else {
                        await Self.hold(upstream, link, era, lastEvent, opened: isOpened)
                    }
                opened.open()
                if Task.isCancelled { return }
                let hasLasted = upstream.time.now().since(began) > Self.lasting
                failures = hasLasted ? 0 : min(failures + 1, 7)
                var wait = min(Self.pauses.lowerBound * (1 << failures), Self.pauses.upperBound)
                switch end {
                case .notOffered(let status, let retry):
                    let isPassing = status == 409 || status == 429 || status >= 500
                    guard isPassing || lastEvent != nil else { return ended() }
                    if let retry { wait = max(wait, min(retry, Pace.namedMax)) }
                    lastEvent = nil
                    mustLook = true
                case .closed(let event, let retry):
                    lastEvent = event ?? lastEvent
                    mustLook = lastEvent == nil
                    if let retry { wait = min(max(retry, Self.pauses.lowerBound), Self.pauses.upperBound) }
                case .unreachable: mustLook = lastEvent == nil
                }
                await Pause.wait(wait, on: upstream.loop)
            }
        }
    }

    func acknowledged(atMost patience: Duration) async { await opened.wait(atMost: patience, on: loop) }

    func end() { task.cancel() }

    private static func hold(
        _ upstream: Upstream, _ link: ServerLink, _ era: Era, _ lastEvent: String?,
        opened: @escaping @Sendable () -> Void
    ) async -> StreamEnd {
        var hearing = link.plainHearing
        hearing.opened = opened
        return await link.transport.listen(era, from: lastEvent, on: upstream.loop, hearing: hearing)
    }

    private static func listen(
        _ upstream: Upstream, _ link: ServerLink, _ filter: String, opened: @escaping @Sendable () -> Void
    ) async -> StreamEnd {
        let id = upstream.numbers.next()
        let request = upstream.writer.request(
            "subscriptions/listen", id: id, members: "\"notifications\":\(filter)", era: .modern)
        link.expectAcknowledgement(id, opened)
        defer { link.forgetAcknowledgement(id) }
        do throws(CallFailure) {
            let answer = try await link.transport.exchange(
                request, on: upstream.loop, deadline: Deadline(Moment(nanoseconds: .max)), hearing: link.plainHearing)
            guard answer.message?.kind == .result else {
                return .notOffered(answer.status, retry: answer.slowDown?.named)
            }
            return .closed(lastEvent: nil, retry: nil)
        } catch {
            return error == .cancelled ? .unreachable("cancelled") : .closed(lastEvent: nil, retry: nil)
        }
    }
}

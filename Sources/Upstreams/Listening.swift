// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// Keeps up what a server says on its own: a stream of its session (until 2025-11-25), or `subscriptions/listen`, and
/// the resources that somebody wants to hear of.
final class Listening: Sendable {
    private struct State {
        var wanted: Set<String> = []
        var order = 0
        /// What the server has been told, or cannot be told; nil while it is being told something else.
        var inForce: Set<String>? = []
        var waiters: [(uris: Set<String>, latch: Latch)] = []
        var bell: Latch?
        var isRung = false
    }

    private let state = Mutex(State())
    private let notices: Notices
    var source: Notices { notices }
    private static let patience = Duration.seconds(3)

    init(notices: Notices) { self.notices = notices }

    /// From here on exactly these. Returns when the server knows, after some seconds at the latest.
    func watch(_ uris: Set<String>, order: Int) async {
        guard let upstream = notices.upstream else { return }
        let latch = Latch()
        let isKnown = state.withLock { state in
            guard order > state.order else { return true }
            state.order = order
            state.wanted = uris
            if state.inForce != uris { state.waiters.append((uris, latch)) }
            return state.inForce == uris
        }
        guard !isKnown, upstream.isUp else { return }
        ring()
        await latch.wait(atMost: Self.patience, on: upstream.loop)
    }

    /// Something has changed: the server is there or gone, or a stream has ended.
    func ring() {
        let bell = state.withLock { state in
            if state.bell == nil { state.isRung = true }
            return state.bell
        }
        bell?.open()
    }

    private func isInForce(_ uris: Set<String>) {
        let ready = state.withLock { state in
            state.inForce = uris
            defer { state.waiters.removeAll { $0.uris == uris } }
            return state.waiters.filter { $0.uris == uris }.map(\.latch)
        }
        for latch in ready { latch.open() }
    }

    private func pause(on loop: any EventLoop) async {
        let bell = Latch()
        let isRung = state.withLock { state in
            defer { state.isRung = false }
            if !state.isRung { state.bell = bell }
            return state.isRung
        }
        if !isRung { await bell.wait() }
        state.withLock { $0.bell = nil }
    }

    // MARK: The loop

    /// Until its task is cancelled.
    func run(_ upstream: Upstream) async {
        var stream: ServerStream?
        var told: (generation: Int, uris: Set<String>) = (-1, [])
        while !Task.isCancelled {
            let (link, facts, generation) = upstream.withState { ($0.link, $0.facts, $0.generation) }
            let wanted = state.withLock { state in
                if state.inForce != state.wanted { state.inForce = nil }
                return state.wanted
            }
            switch facts?.era {
            case nil:
                stream?.end()
                stream = nil
                told = (-1, [])
            case .modern?:
                let listensTo = facts.map { Self.filter($0, wanted) } ?? nil
                if stream?.generation != generation || stream?.uris != wanted {
                    let old = stream
                    stream = listensTo.map { filter in
                        ServerStream(upstream, link, generation, wanted, filter: filter) { self.ring() }
                    }
                    // The new one is there before the old one goes.
                    await stream?.acknowledged(atMost: Self.patience)
                    old?.end()
                }
                isInForce(wanted)
            case .legacy(let revision, _)?:
                if stream?.generation != generation, !link.transport.isDuplex, revision > .v2024_11_05 {
                    stream?.end()
                    stream = ServerStream(upstream, link, generation, [], filter: nil) { self.ring() }
                    await stream?.acknowledged(atMost: Self.patience)
                }
                if told.generation != generation { told = (generation, []) }
                await subscribe(upstream, link, facts, from: told.uris, to: wanted)
                told.uris = wanted
                isInForce(wanted)
            }
            await pause(on: upstream.loop)
        }
        stream?.end()
        for waiter in state.withLock({ $0.waiters }) { waiter.latch.open() }
    }

    /// The filter of `subscriptions/listen`; nil when the server announces nothing.
    private static func filter(_ facts: ServerFacts, _ uris: Set<String>) -> String? {
        var members: [(key: String, value: JSONValue)] = []
        for (capability, member) in [
            ("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged"),
        ] where facts.has(capability, "listChanged") { members.append((member, true)) }
        if facts.has("resources", "subscribe"), !uris.isEmpty {
            members.append(("resourceSubscriptions", .array(uris.sorted().map { .string($0) })))
        }
        return members.isEmpty ? nil : JSONValue.object(members).text
    }

    private func subscribe(
        _ upstream: Upstream, _ link: ServerLink, _ facts: ServerFacts?, from old: Set<String>, to new: Set<String>
    ) async {
        guard let facts, facts.has("resources", "subscribe") else { return }
        let changes =
            new.subtracting(old).sorted().map { ("resources/subscribe", $0) }
            + old.subtracting(new).sorted().map { ("resources/unsubscribe", $0) }
        for (method, uri) in changes {
            let request = upstream.writer.request(
                method, id: upstream.numbers.next(), members: "\"uri\":\(JSONText.quoted(uri))", era: facts.era)
            let deadline = Deadline(upstream.time.now() + Self.patience)
            do throws(CallFailure) {
                _ = try await link.exchange(request, for: nil, on: upstream.loop, deadline: deadline)
            } catch {
                // A server that cannot be told now is told again when it has been found anew.
            }
        }
    }
}

/// One open stream of a server's own, with its beginning anew after a break.
private final class ServerStream: Sendable {
    let generation: Int
    let uris: Set<String>
    private let opened = Latch()
    private let task: Task<Void, Never>
    private let loop: any EventLoop

    private static let pauseMax = Duration.seconds(30)

    /// - Parameters:
    ///   - filter: what to listen for, in the era of `subscriptions/listen`; nil for the stream of a session.
    ///   - ended: called when it is over for good.
    init(
        _ upstream: Upstream, _ link: ServerLink, _ generation: Int, _ uris: Set<String>, filter: String?,
        ended: @escaping @Sendable () -> Void
    ) {
        self.generation = generation
        self.uris = uris
        loop = upstream.loop
        let opened = opened
        task = Task(executorPreference: LoopExecutor(upstream.loop)) {
            var failures = 0
            var lastEvent: String?
            while !Task.isCancelled {
                let end =
                    if let filter {
                        await Self.listen(upstream, link, filter, opened)
                    } else {
                        await Self.hold(upstream, link, lastEvent, opened)
                    }
                opened.open()
                if Task.isCancelled { return }
                var wait = min(Duration.milliseconds(500 << min(failures, 6)), Self.pauseMax)
                switch end {
                case .notOffered: return ended()
                case .closed(let event, let retry):
                    lastEvent = event ?? lastEvent
                    failures = retry == nil ? failures + 1 : 0
                    wait = retry.map { min($0, Self.pauseMax) } ?? wait
                    // Nothing is repeated that was said meanwhile: what there is has to be asked for.
                    if lastEvent == nil { upstream.wakeUp() }
                case .unreachable: failures += 1
                }
                await Pause.wait(wait, on: upstream.loop)
            }
        }
    }

    func acknowledged(atMost patience: Duration) async { await opened.wait(atMost: patience, on: loop) }

    func end() { task.cancel() }

    private static func hold(
        _ upstream: Upstream, _ link: ServerLink, _ lastEvent: String?, _ opened: Latch
    ) async -> StreamEnd {
        guard let era = upstream.withState({ $0.facts?.era }) else { return .unreachable("away") }
        var hearing = link.plainHearing
        hearing.opened = { opened.open() }
        return await link.transport.listen(era, from: lastEvent, on: upstream.loop, hearing: hearing)
    }

    private static func listen(
        _ upstream: Upstream, _ link: ServerLink, _ filter: String, _ opened: Latch
    ) async -> StreamEnd {
        let id = upstream.numbers.next()
        let request = upstream.writer.request(
            "subscriptions/listen", id: id, members: "\"notifications\":\(filter)", era: .modern)
        link.expectAcknowledgement(id, opened)
        defer { link.forgetAcknowledgement(id) }
        do throws(CallFailure) {
            let answer = try await link.transport.exchange(
                request, on: upstream.loop, deadline: Deadline(Moment(nanoseconds: .max)), hearing: link.plainHearing)
            guard let message = answer.message else { return .notOffered(answer.status) }
            return message.kind == .error ? .notOffered(answer.status) : .closed(lastEvent: nil, retry: nil)
        } catch {
            return error == .cancelled ? .unreachable("cancelled") : .closed(lastEvent: nil, retry: nil)
        }
    }
}

/// Where what a server announces goes, once there is somebody to take it.
final class Notices: Sendable {
    private let place = Mutex<Weak>(Weak())

    private struct Weak: Sendable {
        weak var upstream: Upstream?
        var updated: (@Sendable (String) -> Void)?
    }

    func bind(_ upstream: Upstream) { place.withLock { $0.upstream = upstream } }

    /// - Parameter updated: takes the URI of a resource that has changed.
    func bind(updated: @escaping @Sendable (String) -> Void) { place.withLock { $0.updated = updated } }

    var upstream: Upstream? { place.withLock { $0.upstream } }

    func take(_ notice: Notice) {
        let place = place.withLock { $0 }
        switch notice {
        case .listChanged: place.upstream?.wakeUp()
        case .updated(let uri): place.updated?(uri)
        }
    }
}

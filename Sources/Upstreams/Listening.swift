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
        var waiters: [(order: Int, latch: Latch)] = []
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
            if state.inForce == uris || !upstream.isUp { return true }
            state.waiters.append((order, latch))
            return false
        }
        guard !isKnown else { return ring() }
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

    /// Whatever was ordered up to here is in force, or can never be.
    private func isInForce(_ uris: Set<String>?, upTo order: Int) {
        let ready = state.withLock { state in
            state.inForce = uris
            defer { state.waiters.removeAll { $0.order <= order } }
            return state.waiters.filter { $0.order <= order }.map(\.latch)
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
            let (wanted, order) = state.withLock { state in
                if state.inForce != state.wanted { state.inForce = nil }
                return (state.wanted, state.order)
            }
            switch facts?.era {
            case nil:
                stream?.end()
                stream = nil
                told = (-1, [])
                isInForce(nil, upTo: order)
            case .modern?:
                let listensTo = facts.map { Self.filter($0, wanted) } ?? nil
                if stream?.generation != generation || stream?.uris != wanted {
                    let old = stream
                    stream = listensTo.map { filter in
                        ServerStream(upstream, link, .modern, generation, wanted, filter: filter) { self.ring() }
                    }
                    // The new one is there before the old one goes.
                    await stream?.acknowledged(atMost: Self.patience)
                    old?.end()
                }
                isInForce(wanted, upTo: order)
            case .legacy(let revision, let session)?:
                let era = Era.legacy(revision, session: session)
                if stream?.generation != generation, !link.transport.isDuplex, revision > .v2024_11_05 {
                    stream?.end()
                    stream = ServerStream(upstream, link, era, generation, [], filter: nil) { self.ring() }
                    await stream?.acknowledged(atMost: Self.patience)
                }
                if told.generation != generation { told = (generation, []) }
                told.uris = await subscribe(upstream, link, facts, from: told.uris, to: wanted)
                if told.uris != wanted {
                    // What the server could not be told now it is told a little later.
                    upstream.loop.scheduleTask(in: .seconds(5)) { self.ring() }
                }
                isInForce(told.uris, upTo: order)
            }
            await pause(on: upstream.loop)
        }
        stream?.end()
        isInForce(nil, upTo: .max)
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

    /// Returns what the server knows then. Stops at the first that it cannot be told.
    private func subscribe(
        _ upstream: Upstream, _ link: ServerLink, _ facts: ServerFacts?, from old: Set<String>, to new: Set<String>
    ) async -> Set<String> {
        guard let facts, facts.has("resources", "subscribe") else { return new }
        var known = old
        let changes =
            new.subtracting(old).sorted().map { ("resources/subscribe", $0) }
            + old.subtracting(new).sorted().map { ("resources/unsubscribe", $0) }
        for (method, uri) in changes {
            let request = upstream.writer.request(
                method, id: upstream.numbers.next(), members: "\"uri\":\(JSONText.quoted(uri))", era: facts.era)
            let deadline = Deadline(upstream.time.now() + Self.patience)
            do throws(CallFailure) {
                let answer = try await link.exchange(request, for: nil, on: upstream.loop, deadline: deadline)
                // A refusal is an answer: asking again would bring another.
                guard answer.message != nil else { return known }
                known.formSymmetricDifference([uri])
            } catch {
                return known
            }
        }
        return known
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
        case .lost(let how): place.upstream?.wasLost(how)
        case .updated(let uri): place.updated?(uri)
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
internal import Synchronization
internal import Telemetry

extension Upstream {
    /// Keeps knowing whether the server is there, what it speaks and what it has, until its task is cancelled.
    ///
    /// One attempt at a time, with a growing pause between attempts that come to nothing; a call that finds the server
    /// gone, or waiting for it, ends the pause early. `changed` is called when it offers something else than before.
    /// `returned` when it answers after it was away. Neither is when it leaves: another speaks under its name then.
    ///
    /// - Parameter settling: those who wait for its first word; nil when nobody does.
    func keepUp(
        settling: Settling?, changed: @Sendable () -> Void, returned: @Sendable () -> Void
    ) async {
        var hasAsked = false
        var failures = 0
        var skipsProbe = false
        var earliest = time.now()
        while !Task.isCancelled {
            let now = time.now()
            if now < earliest { await Pause.wait(earliest.since(now), on: loop) }
            earliest = time.now() + cadence.attemptsApart
            withState { $0.isLost = false }
            do throws(TransportError) {
                try await attempt(skippingProbe: skipsProbe, changed: changed)
                // Also after a call that found it away while it was being looked at.
                if withState({ state in
                    defer { state.hasReturned = false }
                    return state.hasReturned
                }), !leaves {
                    returned()
                }
                skipsProbe = false
                releaseWaiters()
                if !hasAsked { settling?.oneAsked() }
                hasAsked = true
                let upAt = time.now()
                await rest(cadence.refresh)
                // One that answers and ends again and again is no better than one that never does.
                let endedSoon = withState { $0.isLost } && time.now().since(upAt) < Self.steadyAfter
                failures = endedSoon ? failures + 1 : 0
                if endedSoon { earliest = max(earliest, cool(after: failures)) }
            } catch {
                if Task.isCancelled { break }
                if error.isSlowDown { noteSlowDown() } else { noteAway(error.words, error.kind) }
                releaseWaiters()
                if !hasAsked { settling?.oneAsked() }
                hasAsked = true
                if error.isSlowDown {
                    await rest(transports.pace.rest(at: time.now()) ?? cadence.pause(after: 1))
                    continue
                }
                // A server that dies of the probe is an old one: ask it the old way next time.
                if withState({ $0.link.transport.isDuplex }) { skipsProbe.toggle() }
                failures += 1
                earliest = max(earliest, cool(after: failures))
                await rest(cadence.pause(after: failures))
            }
        }
        if !hasAsked { settling?.oneAsked() }
        await end()
    }

    /// A process that has lived so long is worth being started again at once.
    private static let steadyAfter = Duration.seconds(10)

    /// From when on a process may be started again, however often somebody rings: a start costs the machine more than
    /// an attempt to connect does. No wait for others.
    private func cool(after failures: Int) -> Moment {
        let now = time.now()
        guard withState({ $0.link.transport.isDuplex }) else { return now }
        let until = now + min(cadence.attemptsApart * (1 << min(failures - 1, 10)), cadence.pauseMax)
        // After one or two a call may well wait for the next.
        if failures > 2 { withState { $0.coolsUntil = until } }
        return until
    }

    /// Ends sessions, connections and processes. Calls that come after it find it away.
    private func end() async {
        let reason = leaves ? "it is not in the configuration any more" : "the gateway is stopping"
        let (link, facts) = withState { state in
            defer { (state.isOver, state.facts, state.awayReason) = (true, nil, reason) }
            return (state.link, state.facts)
        }
        releaseWaiters()
        await sides.closeAll()
        if let era = facts?.era { await link.transport.end(era, on: loop) }
        await link.transport.close()
        await transports.close()
    }

    private func attempt(skippingProbe: Bool, changed: @Sendable () -> Void) async throws(TransportError) {
        let (known, link, offers) = withState { ($0.mustRenew ? nil : $0.facts, $0.link, $0.offers) }
        if let known {
            let began = time.now()
            // Still there and still the same? Lists answer both.
            do throws(TransportError) {
                let listed = try await handshake(link).offers(known, known: offers)
                if noteUp(known, link, listed, isNewHandshake: false) { changed() }
                return
            } catch {
                // It is there, and beginning anew would be one request more.
                if error.isSlowDown { throw error }
                // One that works on a call and answers nothing else meanwhile is busy, not gone: beginning anew would
                // end the call with its process.
                let isWorking = link.callCount > 0 && time.now().since(link.lastHeard) < callMax + cadence.refresh
                if link.transport.isDuplex, isWorking { return }
                // The same over HTTP: it answers others while it is too slow for us.
                if error.isSilence, lastAnswered > began { return }
                log.debug("listing again did not work, beginning anew", metadata: [LogKey.upstream: "\(name)"])
            }
        }
        do throws(TransportError) {
            try await begin(link, offers, skippingProbe: skippingProbe, changed: changed)
        } catch {
            guard !error.isSlowDown, error.isNoEndpoint || link.transport.kind == "sse", transports.change()
            else { throw error }
            try await beginOtherwise(after: error, offers, changed: changed)
            if link.transport.isDuplex { await link.transport.close() }
        }
    }

    /// The address may be one of the old HTTP+SSE transport, or not be one any more.
    private func beginOtherwise(
        after error: TransportError, _ offers: Offers, changed: @Sendable () -> Void
    ) async throws(TransportError) {
        let notices = listening.source
        let other = ServerLink(
            name: name, transport: transports.make(), isExclusive: false, numbers: numbers, loop: loop, time: time,
            log: log, notice: notices.take)
        do throws(TransportError) {
            try await begin(other, offers, skippingProbe: false, changed: changed)
        } catch let second {
            if other.transport.isDuplex { await other.transport.close() }
            _ = transports.change()
            throw TransportError(
                words: "\(error.words); nor is the old HTTP+SSE transport there: \(second.words)",
                kind: second.isSlowDown ? .slowDown : error.kind)
        }
    }

    private func begin(
        _ link: ServerLink, _ offers: Offers, skippingProbe: Bool, changed: @Sendable () -> Void
    ) async throws(TransportError) {
        // Whatever was there before is ended by this.
        withState { $0.isProven = false }
        try await link.open()
        let handshake = handshake(link)
        let facts = try await handshake.negotiate(skippingProbe: skippingProbe)
        link.speaks(facts.era)
        let listed = try await handshake.offers(facts, known: offers)
        if noteUp(facts, link, listed, isNewHandshake: true) { changed() }
    }

    private func handshake(_ link: ServerLink) -> Handshake {
        Handshake(
            link: link, writer: writer, loop: loop, time: time, patience: cadence.patience, silence: cadence.silence,
            numbers: numbers, secrets: secrets)
    }

    /// Sleeps on the loop's clock, or until somebody rings.
    private func rest(_ duration: Duration) async {
        let latch = Latch()
        withState { state in
            if state.isRung { latch.open() } else { state.sleep = latch }
            state.isRung = false
        }
        await latch.wait(atMost: duration, on: loop)
        withState { $0.sleep = nil }
    }

    // MARK: What was found

    func noteAway(_ words: String, _ kind: TransportError.Kind) {
        let now = time.wallMilliseconds()
        let reason = kind.isFailure ? "failed: \(words)" : words
        let isNews = withState { state in
            // What a call says that came too late is nothing new.
            guard !state.isOver else { return false }
            // Words of a server are no news by themselves: it could find others each time. Ours for a network that is
            // not there are few.
            let isOther = state.awayKind != kind || (kind == .unreachable && state.awayReason != reason)
            let isNews = state.facts != nil || isOther
            if state.facts != nil { state.since = now }
            state.facts = nil
            state.mustRenew = false
            (state.awayReason, state.awayKind) = (reason, kind)
            state.checkedAt = now
            return isNews
        }
        listening.ring()
        if isNews, !leaves {
            log.warning("upstream is away", metadata: [LogKey.upstream: "\(name)", LogKey.detail: "\(reason)"])
        }
    }

    /// It asks to be left alone for a while. One that is known stays so; one that is not has said nothing yet.
    private func noteSlowDown() {
        guard isUp else { return noteAway("it asks to slow down", .slowDown) }
        let now = time.wallMilliseconds()
        withState { $0.checkedAt = now }
    }

    /// Takes up what a handshake found; true when the server offers something else than before.
    private func noteUp(_ facts: ServerFacts, _ link: ServerLink, _ offers: Offers, isNewHandshake: Bool) -> Bool {
        let now = time.wallMilliseconds()
        let (tools, headers) = facts.era == .modern ? headerFacts(offers.tools, link) : (offers.tools, [:])
        var offers = offers
        offers.tools = tools
        let found = offers
        let (isNews, isChanged, old) = withState { state in
            let isNews = state.facts == nil
            let old = isNewHandshake ? state.lastEra : nil
            state.lastEra = facts.era
            let isChanged = !state.hasListed || state.offers != found
            if isNews { (state.since, state.hasReturned) = (now, true) }
            if isNewHandshake {
                state.generation += 1
                state.mustRenew = false
                state.isProven = true
            }
            state.facts = facts
            state.link = link
            state.headers = headers
            (state.awayReason, state.awayKind) = (nil, nil)
            state.offers = found
            state.hasListed = true
            state.checkedAt = now
            return (isNews, isChanged, old)
        }
        if isChanged, !leaves { archive?.keep(found, of: name, at: now) }
        if let old, old != facts.era { endLater(old, link) }
        if isNewHandshake || isNews { listening.ring() }
        if isNews {
            log.info(
                "upstream is there",
                metadata: [
                    LogKey.upstream: "\(name)", LogKey.revision: "\(facts.era.revision.name)",
                    LogKey.tools: "\(found.tools.count)",
                ])
        }
        return isChanged && !leaves
    }

    /// A session that was replaced is ended at the server, when no call can be on it any more.
    private func endLater(_ era: Era, _ link: ServerLink) {
        let loop = loop
        loop.scheduleTask(in: .nanoseconds(callMax.nanosecondsClamped)) {
            // Ends with the server's word, after some seconds at the latest.
            _ = Task(executorPreference: LoopExecutor(loop)) { await link.transport.end(era, on: loop) }
        }
    }

    /// Which arguments go into headers. A tool that asks for that in a way that cannot be followed is left out over
    /// HTTP; on a pipe there are no headers, and it is only shown without the annotation.
    private func headerFacts(
        _ tools: [OfferedItem], _ link: ServerLink
    ) -> ([OfferedItem], [String: [HeaderParameter]]) {
        var kept: [OfferedItem] = []
        var headers: [String: [HeaderParameter]] = [:]
        var leftOut: [(name: String, words: String)] = []
        for tool in tools {
            guard HeaderParameter.mayOccur(in: tool.definition),
                let definition = try? JSONValue.parse(tool.definition.span, limits: WireLimits(bytesMax: .max))
            else {
                kept.append(tool)
                continue
            }
            do throws(HeaderParameterError) {
                let found = try HeaderParameter.all(in: definition["inputSchema"] ?? [:])
                if !found.isEmpty, !link.transport.isDuplex { headers[tool.name] = found }
                kept.append(tool)
            } catch {
                if link.transport.isDuplex {
                    let plain = definition.mapping("inputSchema", HeaderParameter.removed)
                    kept.append(OfferedItem(name: tool.name, definition: Array(plain.text.utf8)))
                } else {
                    leftOut.append((tool.name, error.words))
                }
            }
        }
        note(leftOut)
        return (kept, headers)
    }

    /// One line for all of them, and none while they stay the same: lists come every half minute, and are as long as
    /// the server likes.
    private func note(_ leftOut: [(name: String, words: String)]) {
        let names = leftOut.map { $0.name }
        let isNews = withState { state in
            defer { state.leftOut = names }
            return state.leftOut != names
        }
        guard isNews, let first = leftOut.first, lines.take(at: time.now()) != nil else { return }
        log.warning(
            "tools are left out: their wish for headers cannot be followed",
            metadata: [
                LogKey.upstream: "\(name)", LogKey.count: "\(leftOut.count)",
                LogKey.tool: "\(secrets.hidden(in: first.name, bytesMax: 200))", LogKey.detail: "\(first.words)",
            ])
    }
}

/// How often an upstream is looked after.
package struct Cadence: Sendable {
    /// Between two looks at a server that is there.
    package var refresh: Duration = .seconds(30)
    /// Shortest time between two attempts, however often somebody rings.
    package var attemptsApart: Duration = .milliseconds(250)
    /// Longest pause between attempts to reach a server that is away.
    package var pauseMax: Duration = .seconds(5)
    /// How long one request of a handshake may take.
    package var patience: Duration = .seconds(10)
    /// How long, after the start, lists wait for the first word of every upstream.
    package var settle: Duration = .seconds(2)
    /// How long a process may be silent to `server/discover`.
    package var silence: Duration = .seconds(5)
    /// How long one that leaves is looked after at least, for calls that were on their way to it.
    package var parting: Duration = .seconds(1)

    package init() {}

    /// Doubles from half a second, with up to a quarter of chance, so that many gateways do not knock together.
    func pause(after failures: Int) -> Duration {
        let doubled = Duration.milliseconds(500 << min(failures - 1, 6))
        let base = min(doubled, pauseMax)
        return base + base * Double.random(in: 0..<0.25)
    }
}

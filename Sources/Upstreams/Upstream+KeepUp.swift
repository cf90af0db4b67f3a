// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import NIOCore
internal import Synchronization
internal import Telemetry

extension Upstream {
    /// Keeps knowing whether the server is there, what it speaks and which tools it has, until its task is cancelled.
    ///
    /// One attempt at a time, with a growing pause between attempts that come to nothing; a call that finds the server
    /// gone, or waiting for it, ends the pause early. `changed` is called when the list of tools has changed.
    func keepUp(
        on loop: any EventLoop, cadence: Cadence, settling: Settling, changed: @Sendable () -> Void
    ) async {
        var hasAsked = false
        var failures = 0
        var skipsProbe = false
        var earliest = time.now()
        while !Task.isCancelled {
            let now = time.now()
            if now < earliest { await pause(earliest.since(now), on: loop, mayWake: false) }
            earliest = time.now() + cadence.attemptsApart
            do throws(TransportError) {
                try await attempt(on: loop, cadence: cadence, skippingProbe: skipsProbe, changed: changed)
                failures = 0
                skipsProbe = false
                releaseWaiters()
                if !hasAsked { settling.oneAsked() }
                hasAsked = true
                await pause(cadence.refresh, on: loop, mayWake: true)
            } catch {
                if Task.isCancelled { break }
                noteAway(error.words)
                releaseWaiters()
                if !hasAsked { settling.oneAsked() }
                hasAsked = true
                // A server that dies of the probe is an old one: ask it the old way next time.
                if transport.kind == "stdio" { skipsProbe.toggle() }
                failures += 1
                await pause(cadence.pause(after: failures), on: loop, mayWake: true)
            }
        }
        releaseWaiters()
        await transport.close()
    }

    private func attempt(
        on loop: any EventLoop, cadence: Cadence, skippingProbe: Bool, changed: @Sendable () -> Void
    ) async throws(TransportError) {
        let handshake = Handshake(
            transport: transport, writer: writer, loop: loop, time: time, patience: cadence.patience,
            silence: cadence.silence, numbers: numbers, log: log)
        let known = withState { $0.mustRenew ? nil : $0.era }
        if let known {
            // Still there and still the same? A list answers both.
            do throws(TransportError) {
                let tools = try await handshake.listTools(known)
                if noteUp(known, tools: tools, isNewHandshake: false) { changed() }
                return
            } catch {
                log.debug("listing again did not work, beginning anew", metadata: [LogKey.upstream: "\(name)"])
            }
        }
        try await transport.open()
        let era = try await handshake.negotiate(skippingProbe: skippingProbe)
        let tools = try await handshake.listTools(era)
        if noteUp(era, tools: tools, isNewHandshake: true) { changed() }
    }

    /// Sleeps on the loop's clock. `mayWake` lets `wakeUp` end it.
    private func pause(_ duration: Duration, on loop: any EventLoop, mayWake: Bool) async {
        let bell = Bell()
        let timer = loop.scheduleTask(in: .nanoseconds(duration.nanosecondsClamped)) { bell.ring() }
        if mayWake {
            withState { state in
                if state.isRung { bell.ring() } else { state.wake = { bell.ring() } }
                state.isRung = false
            }
        }
        await withTaskCancellationHandler {
            await bell.wait()
        } onCancel: {
            bell.ring()
        }
        withState { $0.wake = nil }
        timer.cancel()
    }
}

/// Wakes one waiter, once, whoever rings first.
private final class Bell: Sendable {
    private enum State {
        case silent, rung
        case awaited(UnsafeContinuation<Void, Never>)
    }

    private let state = Mutex<State>(.silent)

    func ring() {
        let waiter: UnsafeContinuation<Void, Never>? = state.withLock { state in
            defer { state = .rung }
            if case .awaited(let waiter) = state { return waiter }
            return nil
        }
        waiter?.resume()
    }

    func wait() async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            let isRung = state.withLock { state in
                if case .rung = state { return true }
                state = .awaited(continuation)
                return false
            }
            if isRung { continuation.resume() }
        }
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

    package init() {}

    /// Doubles from half a second, with up to a quarter of chance, so that many gateways do not knock together.
    func pause(after failures: Int) -> Duration {
        let doubled = Duration.milliseconds(500 << min(failures - 1, 6))
        let base = min(doubled, pauseMax)
        return base + base * Double.random(in: 0..<0.25)
    }
}

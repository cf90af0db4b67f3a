// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import NIOCore
internal import Synchronization
internal import Telemetry

/// From the moment in which somebody looks after an upstream to its end.
extension Upstream {
    /// Looks after it until the task is cancelled, or until it has left and its last call has ended; then ends its
    /// sessions, connections and processes.
    func live(
        settling: Settling?, changed: @escaping @Sendable () -> Void, returned: @escaping @Sendable () -> Void
    ) async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: LoopExecutor(loop)) {
                await self.keepUp(settling: settling, changed: changed, returned: returned)
            }
            group.addTask(executorPreference: LoopExecutor(loop)) { await self.listening.run(self) }
            await leaving.wait()
            await untilUnused()
            group.cancelAll()
        }
        guard leaves, !Task.isCancelled else { return }
        log.info("an upstream that was taken out or replaced has ended", metadata: [LogKey.upstream: "\(name)"])
    }

    var leaves: Bool { isLeaving.load(ordering: .sequentiallyConsistent) }

    /// It has no place in the configuration any more. Calls in flight on it may end.
    func leave() {
        isLeaving.store(true, ordering: .sequentiallyConsistent)
        leaving.open()
    }

    /// At most as long as a call may take.
    private func untilUnused() async {
        let patience = callMax
        // Calls that were routed to it just before have not come yet.
        let parting = min(cadence.parting, patience)
        await Pause.wait(parting, on: loop)
        let latch = Latch()
        withState { $0.unused = latch }
        // A call that ends after this finds the latch, one that ended before is not counted any more.
        guard inFlight.load(ordering: .sequentiallyConsistent) > 0 else { return }
        await latch.wait(atMost: patience - parting, on: loop)
    }

    /// What the transport says of its process, or of its stream: how it ended. It is begun anew.
    ///
    /// A process that we end ourselves is not told of here.
    func wasLost(_ how: String) {
        let hasFailed = withState { state in
            state.isLost = true
            defer { state.isProven = false }
            return state.isProven && state.link.transport.kind == "stdio"
        }
        if hasFailed, !leaves { noteRestart(how) }
        wakeUp()
    }

    /// Between two looks a process can fail and be there again, and nobody would know.
    private func noteRestart(_ how: String) {
        restarts.add(1, ordering: .relaxed)
        guard let omitted = lines.take(at: time.now()) else { return }
        var metadata: Logger.Metadata = [LogKey.upstream: "\(name)", LogKey.detail: "\(how)"]
        if omitted > 0 { metadata["omitted_before"] = "\(omitted)" }
        log.warning("its process failed and is started again", metadata: metadata)
    }

    var restartCount: Int { restarts.load(ordering: .relaxed) }

    func callEnded() {
        let isLast = inFlight.subtract(1, ordering: .sequentiallyConsistent).newValue == 0
        if isLast, leaves { withState { $0.unused }?.open() }
    }

    /// Takes up what can change while it goes on: the longest time of a call, for calls that begin after this, and the
    /// number of side sessions.
    func adjust(to settings: UpstreamSettings) {
        timeout.store(settings.timeout.nanosecondsClamped, ordering: .relaxed)
        sides.change(sessionsMax: settings.sideSessionsMax)
    }
}

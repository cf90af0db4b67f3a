// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import NIOCore

/// Calls that another gateway has accepted, which is gone.
extension Pipeline {
    private static let lookEvery = Duration.milliseconds(500)
    /// Whose servers are away for so long gives the queue back: its own gateway may want to start there.
    private static let looksInVainMax = 10

    /// Whether calls can reach one of these now, as far as is known.
    package func canReach(_ upstreams: Set<String>) -> Bool {
        upstreams.contains { catalogue.owner($0)?.backend.isReachable == true }
    }

    /// Sends what waits in another queue as if it were in ours, until nothing does, nobody can be reached, or it is to
    /// stop; what is under way then ends first.
    ///
    /// - Parameters:
    ///   - stop: open when nothing new is to be begun.
    ///   - progress: told now and then how many calls still wait.
    package func send(
        from queue: any CallQueue, on loops: [any EventLoop], stop: SharedLatch,
        progress: @escaping @Sendable (Int) -> Void
    ) async {
        let worker = makeWorker(queue)
        async let running: Void = worker.run(on: loops)
        var inVain = 0
        while !Task.isCancelled, !stop.isOpen {
            let waiting = queue.waiting().filter { $0.value > 0 }
            progress(waiting.values.reduce(0, +))
            inVain = canReach(Set(waiting.keys)) ? 0 : inVain + 1
            if waiting.isEmpty || inVain > Self.looksInVainMax { break }
            await stop.wait(atMost: Self.lookEvery, on: loops[0])
            worker.ownersChanged()
            worker.ringAll()
        }
        worker.stop()
        await running
        progress(queue.waiting().values.reduce(0, +))
    }
}

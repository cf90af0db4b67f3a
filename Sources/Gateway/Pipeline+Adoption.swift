// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import NIOCore

/// Calls that another gateway has accepted, which is gone.
extension Pipeline {
    private static let lookEvery = Duration.milliseconds(500)

    /// Sends what waits in another queue as if it were in ours, until nothing does, or its task is cancelled; what is
    /// under way then ends first.
    ///
    /// - Parameter progress: told now and then how many calls still wait.
    package func send(
        from queue: any CallQueue, on loops: [any EventLoop], progress: @escaping @Sendable (Int) -> Void
    ) async {
        let worker = makeWorker(queue)
        await withDiscardingTaskGroup { group in
            group.addTask { await worker.run(on: loops) }
            while !Task.isCancelled {
                let waiting = queue.waiting().values.reduce(0, +)
                progress(waiting)
                if waiting == 0 { break }
                // Ends early when the gateway stops.
                do { try await Task.sleep(for: Self.lookEvery) } catch { break }
                worker.ownersChanged()
                worker.ringAll()
            }
            worker.stop()
            group.cancelAll()
        }
    }
}

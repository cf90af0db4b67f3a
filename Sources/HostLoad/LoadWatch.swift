// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// Something that changed between two looks, to be logged and acted upon.
package enum LoadChange: Sendable, Equatable {
    case memory(from: Pressure, to: Pressure)
    case cpu(isBusy: Bool)
}

/// Watches how much memory and CPU are left, for those who make room and for `/health`.
///
/// Somebody calls `look` about once a second; everything else answers from what the last look saw. Before the first
/// nothing is short.
package final class LoadWatch: StatusSource {
    private struct State {
        var gauge: PressureGauge
        var reading: LoadReading?
        /// Wall milliseconds, as the two below.
        var lookedAt: Int64
        var memorySince: Int64
        var cpuSince: Int64

        var isMemoryWell: Bool { reading == nil || gauge.knowsMemory && gauge.pressure == .none }
    }

    private let time: any TimeSource
    /// Held while files are read; only lookers ever wait for it.
    private let reader: Mutex<LoadReader>
    private let state: Mutex<State>
    private let level = Atomic<Int>(Pressure.none.rawValue)

    /// - Parameters:
    ///   - reader: what is read once a look.
    ///   - memoryShare: see `PressureGauge.init`, as the next.
    ///   - cpuShare: see above.
    package init(
        reader: LoadReader = .machine, memoryShare: Double = 0.8, cpuShare: Double = 0.85, time: any TimeSource
    ) {
        self.reader = Mutex(reader)
        self.time = time
        let wall = time.wallMilliseconds()
        let gauge = PressureGauge(memoryShare: memoryShare, cpuShare: cpuShare)
        state = Mutex(State(gauge: gauge, lookedAt: wall, memorySince: wall, cpuSince: wall))
    }

    /// How short memory is, as of the last look. Costs next to nothing; meant to be asked at each call.
    package var pressure: Pressure { Pressure(rawValue: level.load(ordering: .relaxed)) ?? .none }

    /// Whether the CPU has been used up for a while, as of the last look.
    package var isBusy: Bool { state.withLock { $0.gauge.isBusy } }

    /// What the last look read; nil before the first.
    package var reading: LoadReading? { state.withLock { $0.reading } }

    /// The share of the allowed cores that was used over the last ten seconds or so; nil while not known.
    package var cpuShare: Double? { state.withLock { $0.gauge.cpuShare } }

    /// Reads and judges. Takes some 0.4 ms; may be called from anywhere, best about once a second.
    ///
    /// - Returns: what is other than at the last look; mostly nothing.
    package func look() -> [LoadChange] {
        reader.withLock { reader in
            let reading = reader.take()
            let (now, wall) = (time.now(), time.wallMilliseconds())
            return state.withLock { state in
                let (gauge, wasWell) = (state.gauge, state.isMemoryWell)
                state.gauge.note(reading, at: now)
                state.reading = reading
                state.lookedAt = wall
                level.store(state.gauge.pressure.rawValue, ordering: .relaxed)
                if state.isMemoryWell != wasWell { state.memorySince = wall }
                var changes: [LoadChange] = []
                if state.gauge.pressure != gauge.pressure {
                    changes.append(.memory(from: gauge.pressure, to: state.gauge.pressure))
                }
                if state.gauge.isBusy != gauge.isBusy {
                    state.cpuSince = wall
                    changes.append(.cpu(isBusy: state.gauge.isBusy))
                }
                return changes
            }
        }
    }

    /// `memory` and `cpu`. Neither is vital: a gateway that is short of either still answers, if only to refuse.
    package func components() -> [ComponentStatus] {
        let state = state.withLock { $0 }
        let (gauge, reading) = (state.gauge, state.reading)
        let waiting = "not looked at yet"
        return [
            ComponentStatus(
                name: "memory", status: state.isMemoryWell ? .healthy : .degraded,
                detail: reading?.memoryDetail(gauge.pressure, isKnown: gauge.knowsMemory) ?? waiting,
                checkedAt: state.lookedAt, since: state.memorySince),
            ComponentStatus(
                name: "cpu", status: gauge.isBusy ? .degraded : .healthy,
                detail: reading?.cpuDetail(share: gauge.cpuShare, isBusy: gauge.isBusy) ?? waiting,
                checkedAt: state.lookedAt, since: state.cpuSince),
        ]
    }
}

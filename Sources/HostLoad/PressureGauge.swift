// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore

/// How short memory is, and with it what has to give way.
package enum Pressure: Int, Sendable, Comparable, CaseIterable {
    case none
    /// What is only kept to be quick can go.
    case high
    /// What can wait should.
    case severe
    /// Nothing new can be taken: the kernel is about to end processes.
    case critical

    package static func < (left: Pressure, right: Pressure) -> Bool { left.rawValue < right.rawValue }
}

/// Judges readings: how short memory is, and whether the CPU is used up.
///
/// - A level is reached at its threshold, at once; it is left only 0.03 below, so that caches are not dropped and
///   filled in turns.
/// - Busy is what lasts: more than the limit for 30 s, and then until less than 0.05 below it for 10 s.
/// - A reading that tells nothing changes nothing for 30 s: files cannot be opened just when everything is short. After
///   that nothing is known, and nobody is refused for something that nobody knows.
///
/// A pure machine; moments that go back stand still.
package struct PressureGauge: Sendable {
    /// What both limits may be. Whoever reads them from a file checks that first.
    package static let shares = 0.1...0.99

    static let memoryEasing = 0.03
    static let cpuEasing = 0.05
    static let busyAfter = Duration.seconds(30)
    static let idleAfter = Duration.seconds(10)
    static let unreadPatience = Duration.seconds(30)

    private let memoryLimit: Double
    private let cpuLimit: Double

    package private(set) var pressure = Pressure.none
    package private(set) var isBusy = false

    private var window = CPUWindow()
    /// Since when the share has been on the other side of what `isBusy` says.
    private var crossedAt: Moment?
    private var memoryReadAt: Moment?
    private var cpuReadAt: Moment?
    private var latest = Moment(nanoseconds: 0)

    /// - Parameters:
    ///   - memoryShare: from which share of the limit on memory is short, within `shares`. The next two levels begin
    ///     half and three quarters of the way from there to 1.
    ///   - cpuShare: above which share of the allowed cores the CPU is busy, within `shares`.
    package init(memoryShare: Double = 0.8, cpuShare: Double = 0.85) {
        precondition(Self.shares.contains(memoryShare), "the share of memory is 0.1 to 0.99")
        precondition(Self.shares.contains(cpuShare), "the share of CPU is 0.1 to 0.99")
        memoryLimit = memoryShare
        cpuLimit = cpuShare
    }

    /// The share of the allowed cores that was used over the last ten seconds or so; nil while not known.
    package var cpuShare: Double? { window.share }

    /// Whether `pressure` says something: memory was read, and not long ago.
    package var knowsMemory: Bool { memoryReadAt != nil }

    /// From which share on memory is that short.
    func threshold(of level: Pressure) -> Double {
        switch level {
        case .none: -.infinity
        case .high: memoryLimit
        case .severe: (1 + memoryLimit) / 2
        case .critical: (3 + memoryLimit) / 4
        }
    }

    package mutating func note(_ reading: LoadReading, at moment: Moment) {
        latest = max(latest, moment)
        noteMemory(reading.memoryShare)
        noteCPU(reading)
    }

    // MARK: Memory

    private mutating func noteMemory(_ share: Double?) {
        if let share {
            memoryReadAt = latest
            let reached = Pressure.allCases.last { share >= threshold(of: $0) } ?? .none
            let kept =
                Pressure.allCases.last { $0 <= pressure && share > threshold(of: $0) - Self.memoryEasing } ?? .none
            pressure = max(reached, kept)
        } else if isForgotten(memoryReadAt) {
            memoryReadAt = nil
            pressure = .none
        }
    }

    // MARK: CPU

    private mutating func noteCPU(_ reading: LoadReading) {
        if let used = reading.cpuSeconds {
            cpuReadAt = latest
            window.note(usedSeconds: used, cores: reading.cpuCores, at: latest)
            judgeCPU()
        } else if isForgotten(cpuReadAt) {
            cpuReadAt = nil
            window.clear()
            crossedAt = nil
            isBusy = false
        }
    }

    private mutating func judgeCPU() {
        guard let share = window.share, isBusy ? share < cpuLimit - Self.cpuEasing : share > cpuLimit else {
            crossedAt = nil
            return
        }
        let since = crossedAt ?? latest
        crossedAt = since
        guard latest.since(since) >= (isBusy ? Self.idleAfter : Self.busyAfter) else { return }
        isBusy.toggle()
        crossedAt = nil
    }

    private func isForgotten(_ readAt: Moment?) -> Bool {
        readAt.map { latest.since($0) > Self.unreadPatience } ?? true
    }
}

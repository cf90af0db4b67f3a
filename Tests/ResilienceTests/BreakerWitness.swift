// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Resilience

/// Knows what a breaker has promised, and what it was told. Keeps every outcome of the window by itself, and believes
/// the breaker only how long it stays open, which is a matter of chance within bounds.
struct BreakerWitness {
    enum Order {
        case arm, disarm, force, release, serverReturned
        case judge(ignoringMinimum: Bool)
        case change(Breaker.Settings)
    }

    private struct Asked {
        let at: Moment
        let epoch: Int
    }

    private var settings: Breaker.Settings
    private var hand: Moment
    private var isArmed = true
    private var isForced = false
    /// Before it was forced.
    private var wasClosed = false
    private var isClosed = true
    private var opensUntil: Moment?
    /// In a row, since it was closed or forced.
    private var failedProbes = 0
    /// One more each time it opens or closes.
    private var epoch = 0
    private var asked: [Int: Asked] = [:]
    private var probe: (number: Int, givenUp: Moment)?
    /// Nine tenths of the window and all of it: what the breaker counts lies between.
    private var least: ExactWindow
    private var most: ExactWindow

    init(_ settings: Breaker.Settings, at moment: Moment) {
        self.settings = settings
        hand = moment
        (least, most) = Self.windows(settings)
    }

    private static func windows(_ settings: Breaker.Settings) -> (ExactWindow, ExactWindow) {
        let tenth = UInt64(settings.window.nanosecondsClamped) / 10
        return (ExactWindow(length: tenth * 9 + 1), ExactWindow(length: tenth * 10))
    }

    private var isProbing: Bool { probe.map { hand < $0.givenUp } ?? false }

    private func isOver(_ counts: Breaker.Counts, minimum: Int) -> Bool {
        counts.calls >= minimum && Double(counts.bad) / Double(counts.calls) >= settings.failures
    }

    // MARK: After every step

    mutating func check(_ status: Breaker.Status, at told: Moment) throws(Broken) {
        look(told)
        let counts = status.counts
        try promise(
            counts.failures >= 0 && counts.slow >= 0 && counts.bad <= counts.calls, "counts without sense: \(counts)")
        try promise(
            counts.calls >= least.calls && counts.calls <= most.calls,
            "\(counts.calls) calls in the window, exactly \(least.calls) to \(most.calls)")
        try promise(
            counts.bad >= least.bad && counts.bad <= most.bad,
            "\(counts.bad) bad calls in the window, exactly \(least.bad) to \(most.bad)")
        try promise(status.isArmed == isArmed && status.isForced == isForced, "an order was forgotten: \(status)")
        let expected: Breaker.State =
            isClosed ? .closed : opensUntil.map { hand < $0 ? .open : .halfOpen } ?? .open
        try promise(status.state == expected, "is \(status.state), should be \(expected)")
        try promise(status.failedProbes == failedProbes, "\(status.failedProbes) failed probes, not \(failedProbes)")
        try promise(status.isProbing == isProbing, "a probe is out: \(isProbing), and the breaker says otherwise")
    }

    private mutating func look(_ told: Moment) {
        hand = max(hand, told)
        least.pass(to: hand)
        most.pass(to: hand)
    }

    // MARK: Calls

    mutating func asked(_ gate: Breaker.Gate, before: Breaker.Status, number: Int, at told: Moment) throws(Broken) {
        look(told)
        switch gate {
        case .pass:
            try promise(isClosed, "a call passed a breaker that is not closed")
            asked[number] = Asked(at: hand, epoch: epoch)
        case .probe:
            try promise(before.state == .halfOpen, "a probe of a breaker that is \(before.state)")
            try promise(!isProbing, "two probes at a time")
            probe = (number, hand + settings.probePatience)
            asked[number] = Asked(at: hand, epoch: epoch)
        case .refused(let until):
            try promise(!isClosed, "a closed breaker refused")
            try promise(until > hand, "told to come again at once")
            let isTooEarly = opensUntil.map { hand < $0 } ?? true
            try promise(isForced || isTooEarly || isProbing, "refused, although the place of the probe is free")
        }
    }

    /// - Returns: whether it was to be heard.
    mutating func reported(
        _ call: BreakerWorld.Call, _ transition: Breaker.Transition?, before: Breaker.Status, after: Breaker.Status,
        at told: Moment
    ) throws(Broken) -> Bool {
        look(told)
        guard let asked = asked.removeValue(forKey: call.number) else { throw Broken(what: "who is this?") }
        let isLate = hand.since(asked.at) > settings.slowCall
        let isBad = call.outcome == .failure || call.outcome == .slow || call.outcome == .success && isLate
        if call.isProbe {
            guard probe?.number == call.number else {
                try promise(transition == nil && before == after, "a probe given up was heard")
                return false
            }
            probe = nil
            try heardProbe(isIgnored: call.outcome == .ignored, isBad: isBad, transition, after)
            return true
        }
        guard isClosed, asked.epoch == epoch, call.outcome != .ignored else {
            try promise(transition == nil && before == after, "a call of another time was heard: \(call)")
            return false
        }
        least.add(isBad: isBad, at: hand)
        most.add(isBad: isBad, at: hand)
        let opens = isArmed && isBad && isOver(after.counts, minimum: settings.minimumCalls)
        try promise((transition?.reason == .overThreshold) == opens, "should open: \(opens), with \(after.counts)")
        guard opens else { return true }
        try promise(
            most.calls >= settings.minimumCalls && most.bad > 0, "opened with \(most.calls) calls, \(most.bad) bad")
        try opened(after, isFirst: true)
        return true
    }

    private mutating func heardProbe(
        isIgnored: Bool, isBad: Bool, _ transition: Breaker.Transition?, _ after: Breaker.Status
    ) throws(Broken) {
        if isIgnored {
            try promise(transition == nil && after.state == .halfOpen, "a probe that says nothing did something")
        } else if isBad {
            try promise(transition?.reason == .probeFailed && after.state == .open, "open after a failed probe")
            try opened(after, isFirst: false)
        } else {
            // The server is back, and this is the one probe within which it closes.
            try promise(transition?.reason == .probeSucceeded && after.state == .closed, "not closed by its probe")
            (least, most) = Self.windows(settings)
            closed()
        }
    }

    private mutating func opened(_ after: Breaker.Status, isFirst: Bool) throws(Broken) {
        guard let next = after.nextProbe else { throw Broken(what: "open for ever") }
        if !isFirst { failedProbes += 1 }
        let (open, most) = (next.since(hand), settings.openForMax)
        try promise(open > .zero && open <= most, "open for \(open), at most \(most)")
        // Doubled for each failed probe; at the cap, the quarter that chance adds is taken from below.
        let whole = settings.openFor * (1 << min(failedProbes, 40))
        try promise(
            open >= min(whole, most * 3 / 4) && open <= whole * 5 / 4, "open for \(open), \(failedProbes) failed probes"
        )
        epoch += 1
        (isClosed, isForced, opensUntil, probe) = (false, false, next, nil)
    }

    private mutating func closed() {
        epoch += 1
        failedProbes = 0
        (isClosed, isForced, opensUntil, probe) = (true, false, nil, nil)
    }

    // MARK: Orders

    mutating func ordered(
        _ order: Order, _ transition: Breaker.Transition?, before: Breaker.Status, after: Breaker.Status,
        at told: Moment
    ) throws(Broken) {
        look(told)
        switch order {
        case .arm: isArmed = true
        case .disarm:
            isArmed = false
            try promise((transition != nil) == !isClosed && after.state == .closed, "not closed by disarming")
            if !isClosed { closed() }
        case .force:
            isArmed = true
            try promise((transition != nil) == !isForced && after.state == .open, "not open by force")
            if !isForced { (epoch, wasClosed) = (epoch + 1, isClosed) }
            failedProbes = 0
            (isClosed, isForced, opensUntil, probe) = (false, true, nil, nil)
        case .release:
            try promise((transition != nil) == isForced, "released what was not forced")
            guard isForced else { return }
            guard wasClosed else { return try halfOpened(after) }
            try promise(after.state == .closed, "not as closed as it was before it was forced")
            closed()
        case .serverReturned:
            let isEarly = opensUntil.map { hand < $0 } ?? false
            try promise((transition != nil) == isEarly, "a server's return was not heeded")
            if isEarly { try halfOpened(after) }
        case .judge(let ignoringMinimum):
            let minimum = ignoringMinimum ? 1 : settings.minimumCalls
            let opens = isArmed && isClosed && isOver(before.counts, minimum: minimum)
            try promise((transition != nil) == opens, "judged wrongly: \(before.counts)")
            if opens { try opened(after, isFirst: true) }
        case .change(let settings):
            if settings.window != self.settings.window { (least, most) = Self.windows(settings) }
            self.settings = settings
        }
    }

    private mutating func halfOpened(_ after: Breaker.Status) throws(Broken) {
        try promise(after.state == .halfOpen && after.nextProbe == hand, "the next call is no probe")
        epoch += 1
        (isForced, opensUntil, probe) = (false, hand, nil)
    }
}

/// Every outcome of the last while, to the nanosecond.
struct ExactWindow {
    private let length: UInt64
    private var outcomes: [(at: Moment, isBad: Bool)] = []
    private var first = 0
    private(set) var bad = 0

    init(length: UInt64) { self.length = length }

    var calls: Int { outcomes.count - first }

    mutating func add(isBad: Bool, at moment: Moment) {
        outcomes.append((moment, isBad))
        if isBad { bad += 1 }
    }

    mutating func pass(to now: Moment) {
        while first < outcomes.count, now.nanoseconds - outcomes[first].at.nanoseconds >= length {
            if outcomes[first].isBad { bad -= 1 }
            first += 1
        }
    }
}

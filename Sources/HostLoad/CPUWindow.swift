// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// How much of the CPU that a process might have used it did use, over about the last ten seconds.
///
/// What might have been used is added up as time goes, so that cores that come and go are counted for as long as they
/// were there. A pure value; holds at most two dozen marks, however often it is told something.
struct CPUWindow: Sendable {
    /// How far back it looks; further where nobody looked in between.
    static let length = Duration.seconds(10)
    /// Marks are no closer than this, and a share over less is none: CPU time is counted in hundredths of a second.
    private static let spacing = Duration.milliseconds(500)

    struct Mark {
        let moment: Moment
        let usedSeconds: Double
        let allowedSeconds: Double
    }

    private(set) var marks: [Mark] = []
    private var newest: Mark?

    /// - Parameters:
    ///   - usedSeconds: CPU time since the process began.
    ///   - cores: how many it might have used since the last call.
    ///   - now: not before the last call's.
    mutating func note(usedSeconds: Double, cores: Double, at now: Moment) {
        var allowedSeconds = 0.0
        if let newest {
            // Time that was used cannot become less; whatever this is, it begins anew.
            if usedSeconds < newest.usedSeconds { marks = [] }
            allowedSeconds = newest.allowedSeconds + now.since(newest.moment).milliseconds / 1_000 * cores
        }
        let mark = Mark(moment: now, usedSeconds: usedSeconds, allowedSeconds: allowedSeconds)
        newest = mark
        if marks.last.map({ now.since($0.moment) >= Self.spacing }) ?? true { marks.append(mark) }
        // The first is the newest of those that are old enough.
        while marks.count > 1, now.since(marks[1].moment) >= Self.length { marks.removeFirst() }
    }

    mutating func clear() { self = CPUWindow() }

    /// 1 when all that may be used is used; a little more at times, since times are rounded. Nil as long as nothing
    /// is known.
    var share: Double? {
        guard let first = marks.first, let newest, newest.moment.since(first.moment) >= Self.spacing else { return nil }
        let allowed = newest.allowedSeconds - first.allowedSeconds
        return allowed > 0 ? (newest.usedSeconds - first.usedSeconds) / allowed : nil
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// How fast a server wants to be asked. A server that asks to slow down is in order: it is left alone until the time it
/// named is over, or, when it names none, for a second that doubles as long as it goes on asking.
///
/// Pure: whoever holds one says what time it is.
struct Pace: Sendable, Equatable {
    /// When the pause ends. Kept after that until the server has answered something else.
    private(set) var until: Moment?
    /// Pauses since the server answered anything else.
    private var count = 0

    /// Longest pause for a server that names no time.
    static let unnamedMax = Duration.seconds(60)
    /// Longest pause for one that does: nobody is shut out for a day by a slip of the pen.
    static let namedMax = Duration.seconds(600)

    /// The server has asked to slow down and answered nothing else since, whether the pause is over or not.
    var isOn: Bool { until != nil }

    /// What is left of the pause; nil when requests may go.
    func rest(at now: Moment) -> Duration? {
        guard let until, now < until else { return nil }
        return until.since(now)
    }

    /// Why nothing is sent now; nil when requests may go.
    func refusal(at now: Moment) -> CallFailure? {
        rest(at: now).map { .overloaded(detail: "its server asks to slow down", retryAfter: Self.seconds($0)) }
    }

    /// In whole seconds, rounded up.
    static func seconds(_ rest: Duration) -> Int { Int((rest.milliseconds / 1_000).rounded(.up)) }

    /// The server asks to slow down.
    ///
    /// - Parameters:
    ///   - named: for how long, when it said so.
    ///   - sent: when the request was sent that it said that to. Of many that were under way together only the first
    ///     makes the pause longer than the one before.
    mutating func slowDown(for named: Duration?, sent: Moment, at now: Moment) {
        let named = named.map { min(max($0, .seconds(1)), Self.namedMax) }
        if let until, sent < until {
            if let named { self.until = max(until, now + named) }
            return
        }
        until = now + (named ?? min(.seconds(1 << min(count, 6)), Self.unnamedMax))
        count += 1
    }

    /// The server answered something else. What was sent before the pause ended says nothing about what it wants now.
    mutating func answered(sent: Moment) {
        guard let until, sent >= until else { return }
        self = Pace()
    }
}

/// What a server says with status 429, or 503 and `Retry-After`. It has not carried the request out.
struct SlowDown: Sendable, Equatable {
    /// For how long, where it said so in a way that can be read.
    var named: Duration?

    /// nil for every other answer.
    ///
    /// - Parameters:
    ///   - retryAfter: the header of that name.
    ///   - date: the header `Date`: the server's clock need not be ours.
    ///   - wall: wall milliseconds, for answers without it.
    init?(status: Int, retryAfter: String?, date: String?, wall: Int64) {
        guard status == 429 || (status == 503 && retryAfter != nil) else { return nil }
        named = retryAfter.flatMap { Self.duration($0, date: date, wall: wall) }
    }

    /// Seconds, or a date in one of the three forms of RFC 9110; nil for a time that is over and for anything else.
    private static func duration(_ text: String, date: String?, wall: Int64) -> Duration? {
        let seconds: Int64
        if !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
            // What does not fit is cut to the longest pause all the same.
            seconds = min(Int64(text) ?? .max, 1 << 32)
        } else {
            guard let then = HTTPDate.seconds(text) else { return nil }
            seconds = then - (date.flatMap(HTTPDate.seconds) ?? wall / 1_000)
        }
        return seconds > 0 ? .seconds(seconds) : nil
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import DurableStore
internal import GatewayCore
internal import MCPWire

/// One upstream that a drill holds cut off, and the order by which it does. Others may give orders meanwhile, and
/// theirs are not the drill's to undo.
struct DrillCut: Sendable, Equatable {
    private enum Fate: Sendable, Equatable {
        case holds
        case undone
        case changed(by: String)
    }

    let upstream: String
    private let order: JSONValue?
    private var fate: Fate

    /// - Parameters:
    ///   - lasts: as it was ordered just now.
    ///   - all: the orders in force right after it.
    init(_ upstream: String, lasts: Duration, in all: [JSONValue]) {
        let found = all.first { Self.isOrder($0, about: upstream) }
        self.upstream = upstream
        order = found
        // One that lasts for another time is of somebody who came in between.
        if let found {
            let isOurs = abs(Self.milliseconds(found) - lasts.milliseconds) < 1_000
            fate = isOurs ? .holds : .changed(by: found["by"].shown)
        } else {
            fate = .undone
        }
    }

    private static func milliseconds(_ order: JSONValue) -> Double {
        guard let since = WallTime.milliseconds(order["since"].shown),
            let until = WallTime.milliseconds(order["until"].shown)
        else { return .infinity }
        return Double(until - since)
    }

    var holds: Bool { fate == .holds }

    static func isOrder(_ one: JSONValue, about upstream: String) -> Bool {
        one["what"].shown == "circuit-breaker" && one["subject"].shown == upstream
    }

    func isAbout(_ one: JSONValue) -> Bool { Self.isOrder(one, about: upstream) }

    /// - Parameter all: the orders in force, at a moment at which this one is to be among them.
    mutating func look(at all: [JSONValue]) {
        guard holds else { return }
        let now = all.first { Self.isOrder($0, about: upstream) }
        guard now != order else { return }
        if let now { fate = .changed(by: now["by"].shown) } else { fate = .undone }
    }

    /// What others did; nil when nobody did anything.
    var words: String? {
        switch fate {
        case .holds: nil
        case .undone: "the cut of \(ControlClient.words(upstream)) was undone meanwhile"
        case .changed(let by):
            "the order about \(ControlClient.words(upstream)) was changed meanwhile by \(ControlClient.words(by)), and "
                + "is left as it is: mcp-gateway overrides list"
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

extension Upstream {
    /// What operators want to know of one upstream. A moment's picture.
    package struct Facts: Sendable, Equatable {
        package var name: String
        /// `http`, `sse` or `stdio`.
        package var transport: String
        /// The protocol revision that is spoken with it; nil while it is away.
        package var revision: String?
        /// What it has, or had when it was seen last.
        package var tools: Int
        package var prompts: Int
        package var resources: Int
        package var templates: Int
        package var isUp: Bool
        /// Why it is away, in words; nil while it is there.
        package var awayReason: String?
        /// Wall milliseconds since which it is there, or away.
        package var since: Int64
        /// Wall milliseconds at which it was looked at last.
        package var checkedAt: Int64
        /// The server has asked for a pause, which ends then.
        package var pausedUntil: Moment?
        package var callsInFlight: Int
        /// Sessions or processes that single clients have to themselves.
        package var sideSessions: Int
    }

    package var facts: Facts {
        let (paused, sessions) = (pausedUntil, sides.count)
        return withState { state in
            Facts(
                name: name, transport: state.link.transport.kind, revision: state.facts?.era.revision.name,
                tools: state.offers.tools.count, prompts: state.offers.prompts.count,
                resources: state.offers.resources.count, templates: state.offers.templates.count,
                isUp: state.facts != nil, awayReason: state.awayReason, since: state.since,
                checkedAt: state.checkedAt, pausedUntil: paused, callsInFlight: inFlight.load(ordering: .relaxed),
                sideSessions: sessions)
        }
    }

    /// When the pause ends that the server has asked for; nil when it has asked for none, or it is over.
    package var pausedUntil: Moment? {
        let pace = transports.pace
        return pace.isOn && pace.rest(at: time.now()) != nil ? pace.until : nil
    }

    /// Until then calls are turned away at once, and nothing is sent; nil when they may come.
    package var refusesUntil: Moment? { pausedUntil }

    var component: ComponentStatus {
        let facts = facts
        let pause = facts.pausedUntil.map { "asked to slow down for \(Pace.seconds($0.since(time.now()))) s more" }
        var detail: String
        if let revision = facts.revision {
            detail = "\(revision) over \(facts.transport), \(facts.tools) tools"
            if let pause { detail += ", " + pause }
        } else {
            detail = pause ?? facts.awayReason ?? "not connected"
            if withState({ $0.hasListed }) { detail += "; its \(facts.tools) tools stay listed" }
        }
        let status: ComponentStatus.Level = pause != nil ? .degraded : facts.isUp ? .healthy : .unhealthy
        return ComponentStatus(
            name: "upstream:\(name)", status: status, detail: detail, checkedAt: facts.checkedAt, since: facts.since)
    }
}

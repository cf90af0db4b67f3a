// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
package import Resilience
internal import Synchronization
internal import Telemetry

/// Carries out what operators order about traffic, and knows what they have ordered.
package final class TrafficControl: TrafficOrders {
    private let catalogue: Catalogue
    private let admission: Admission
    private let parked: ParkedCalls
    private let settings: LiveSettings
    private let book: OverrideBook
    private let applying = Mutex<Void>(())
    private let changes: Changes
    /// Has calls that wait for tools sent now.
    private let returned: @Sendable () async -> Void
    private let pulseOfCalls: CallPulse
    private let time: any TimeSource
    private let log: Logger

    /// What overrides of breakers say.
    enum BreakerOrder: String {
        case forced = "forced-open"
        case disarmed
    }

    init(
        catalogue: Catalogue, admission: Admission, parked: ParkedCalls, settings: LiveSettings,
        archive: any OverrideArchive, changes: Changes, returned: @escaping @Sendable () async -> Void,
        pulse: CallPulse, time: any TimeSource, log: Logger
    ) {
        self.parked = parked
        self.returned = returned
        self.catalogue = catalogue
        self.admission = admission
        self.settings = settings
        self.changes = changes
        self.time = time
        self.log = log
        pulseOfCalls = pulse
        book = OverrideBook(archive: archive, time: time)
    }

    // MARK: What holds

    /// After a start: what was ordered in an earlier life holds on.
    func restore() {
        reapply()
        guard !book.all.isEmpty else { return }
        _ = catalogue.rebuild()
        log.notice(
            "overrides of operators are in force",
            metadata: [LogKey.detail: "\(book.all.map(Self.words).joined(separator: "; "))"])
    }

    /// Puts every override in force, on whatever the file says now. One at a time: who comes last has read the newest.
    func reapply() { applying.withLock { _ in apply() } }

    private func apply() {
        admission.limit(all: book[.rateLimit, ""].flatMap { Self.limit($0.value) } ?? settings.now.rate)
        admission.setDraining(book[.drain, ""] != nil)
        catalogue.takeOut(Set(book.of(.tool).map(\.subject)))
        applyToBreakers()
    }

    /// Breakers of tools come and go with the lists.
    func reapplyToBreakers() { applying.withLock { _ in applyToBreakers() } }

    private func applyToBreakers() {
        for breaker in Self.breakers(catalogue) {
            let order = book[.breaker, breaker.facts.upstream] ?? book[.breaker, ""]
            switch order.flatMap({ BreakerOrder(rawValue: $0.value) }) {
            case .forced: breaker.force()
            case .disarmed: breaker.disarm()
            case nil: if breaker.isOrdered { breaker.release() }
            }
        }
    }

    /// Undoes what was ordered for a time that is over. To be called every second or so.
    package func undoOverdue() async {
        let over = book.takeOverdue()
        guard !over.isEmpty else { return }
        for one in over {
            log.notice("the time of an override is over", metadata: [LogKey.detail: "\(Self.words(one))"])
        }
        await settle(undone: over)
    }

    /// Puts a change of the book in force, tells clients, and writes it down.
    @discardableResult
    private func settle(hasTools: Bool = false, undone: [Override] = []) async -> Bool {
        reapply()
        let hasTools = hasTools || undone.contains { $0.kind == .tool }
        if hasTools {
            changes.offersChanged()
            reapplyToBreakers()
        }
        // What was stored meanwhile need not wait for the time of its next try.
        if hasTools || undone.contains(where: { $0.kind == .breaker }) { await returned() }
        return await book.write()
    }

    private static func words(_ one: Override) -> String {
        one.kind.rawValue + (one.subject.isEmpty ? "" : " of \(one.subject)") + ": \(one.value)"
    }

    package func overrides() -> [Override] { book.all }

    package func undo(_ key: Override.Key?, by: String) async -> (undone: [Override], isKept: Bool) {
        let undone = book.all.filter { key == nil || $0.key == key }.compactMap { book.remove($0.key) }
        return (undone, await settle(undone: undone))
    }

    // MARK: Breakers

    private static func breakers(_ catalogue: Catalogue) -> [OwnerBreaker] {
        catalogue.owners.compactMap(\.breaker) + catalogue.current.toolBreakers
    }

    package func breakers() -> [BreakerFacts] { Self.breakers(catalogue).map(\.facts) }

    /// By upstream, how many of its tools have a breaker of their own that is open.
    func openToolBreakers() -> [(value: String, number: Double)] {
        var open: [String: Double] = [:]
        for breaker in catalogue.current.toolBreakers {
            open[breaker.facts.upstream, default: 0] += breaker.level == 2 ? 1 : 0
        }
        return open.map { ($0.key, $0.value) }
    }

    package func armBreakers(
        upstream: String?, force: Bool, _ terms: OrderTerms
    ) async throws(OrderRefusal) -> (opened: [String], isKept: Bool) {
        let chosen = try breakers(of: upstream)
        if force {
            try put(.breaker, upstream ?? "", BreakerOrder.forced.rawValue, terms)
        } else if book[.breaker, upstream ?? ""]?.value == BreakerOrder.disarmed.rawValue {
            book.remove(Override.Key(kind: .breaker, subject: upstream ?? ""))
        }
        if let upstream { try exempt(upstream) } else { forgetSingle(keepsForced: !force) }
        let before = chosen.filter { $0.status.state == .open }.map(\.facts.shownName)
        let isKept = await settle()
        for breaker in chosen where !breaker.status.isForced { breaker.openIfOver() }
        let opened = chosen.filter { $0.status.state == .open }.map(\.facts.shownName)
        return (opened.filter { !before.contains($0) }, isKept)
    }

    package func disarmBreakers(upstream: String?, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool {
        _ = try breakers(of: upstream)
        if upstream == nil { forgetSingle(keepsForced: false) }
        try put(.breaker, upstream ?? "", BreakerOrder.disarmed.rawValue, terms)
        return await settle()
    }

    /// An order for all goes on for the others.
    private func exempt(_ upstream: String) throws(OrderRefusal) {
        guard let whole = book[.breaker, ""], whole.value == BreakerOrder.disarmed.rawValue else { return }
        let others = Set(Self.breakers(catalogue).map(\.facts.upstream)).subtracting([upstream])
        for other in others where book[.breaker, other] == nil {
            var one = whole
            one.subject = other
            guard book.put(one) else { throw Self.tooMany }
        }
        book.remove(whole.key)
    }

    /// An order for all replaces those for single ones; only to arm them all opens none that is held open.
    private func forgetSingle(keepsForced: Bool) {
        for one in book.of(.breaker) where !one.subject.isEmpty {
            if keepsForced, one.value == BreakerOrder.forced.rawValue { continue }
            book.remove(one.key)
        }
    }

    private func breakers(of upstream: String?) throws(OrderRefusal) -> [OwnerBreaker] {
        let chosen = Self.breakers(catalogue).filter { upstream == nil || $0.facts.upstream == upstream }
        guard upstream == nil || !chosen.isEmpty else {
            let names = Set(Self.breakers(catalogue).map(\.facts.upstream)).sorted().joined(separator: ", ")
            throw OrderRefusal(
                words: "There is no upstream of this name with a breaker; there are: "
                    + (names.isEmpty ? "none" : names), isMissing: true)
        }
        return chosen
    }

    private func put(
        _ kind: Override.Kind, _ subject: String, _ value: String, _ terms: OrderTerms
    ) throws(OrderRefusal) {
        guard book.put(kind, subject, value, terms) else { throw Self.tooMany }
    }

    private static let tooMany = OrderRefusal(
        words: "There are \(OverrideBook.overridesMax) overrides already; undo some of them first.")

    // MARK: Limits, tools, draining

    package func rateLimit() -> (now: RateLimit?, file: RateLimit?) { (admission.limit, settings.now.rate) }

    package func setRateLimit(_ limit: RateLimit, _ terms: OrderTerms) async -> Bool {
        _ = book.put(.rateLimit, "", limit.words, terms)
        return await settle()
    }

    private static func limit(_ words: String) -> RateLimit? {
        let parts = words.split(separator: ", burst ")
        guard parts.count == 2, let rate = Double(parts[0].dropLast(2)), let burst = Int(parts[1]),
            TokenBucket.rates.contains(rate), TokenBucket.bursts.contains(burst)
        else { return nil }
        return RateLimit(perSecond: rate, burst: burst)
    }

    package func owners() -> [OwnerFacts] {
        let snapshot = catalogue.current
        return catalogue.owners.map { owner in
            OwnerFacts(
                name: owner.backend.name, prefix: owner.prefix, route: owner.backend.route,
                isReachable: owner.backend.isReachable,
                tools: snapshot.routes.tools.values.count { $0.backend.name == owner.backend.name },
                inFlight: owner.traffic?.turnstile?.running ?? 0, waiting: owner.traffic?.turnstile?.waiting ?? 0)
        }
    }

    package func tools() -> [ToolSummary] {
        let snapshot = catalogue.current
        let there = snapshot.tools.compactMap { item in
            snapshot.routes.tool(item.exposed).map { ToolSummary($0, title: item.definition["title"]?.stringValue) }
        }
        let out = snapshot.disabled.map { name, owner in
            ToolSummary(
                name: name, owner: owner.backend.name, route: owner.backend.route, title: nil, isEnabled: false,
                offline: ToolPolicy.Offline.fail.rawValue, isIdempotent: false)
        }
        return (there + out).sorted { $0.name < $1.name }
    }

    package func setTool(_ name: String, isEnabled: Bool, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool {
        let snapshot = catalogue.current
        guard snapshot.routes.tool(name) != nil || snapshot.disabled[name] != nil || book[.tool, name] != nil else {
            throw OrderRefusal(words: "There is no tool of this name; GET /admin/tools lists them.", isMissing: true)
        }
        if isEnabled {
            book.remove(Override.Key(kind: .tool, subject: name))
        } else {
            try put(.tool, name, "disabled", terms)
        }
        return await settle(hasTools: true)
    }

    package func setDraining(_ isDraining: Bool, _ terms: OrderTerms) async {
        if isDraining {
            _ = book.put(.drain, "", "draining", terms)
        } else {
            book.remove(Override.Key(kind: .drain, subject: ""))
        }
        await settle()
    }

    package var isDraining: Bool { admission.isDraining }
    /// Those that wait for their clients to come back with answers count too: they are not over.
    package var callsInFlight: Int { admission.running + parked.count }

    // MARK: What goes on

    package func pulse() -> TrafficPulse {
        let reading = pulseOfCalls.reading(at: time.now())
        return TrafficPulse(
            seconds: 60, calls: reading.calls, failed: reading.failed, limited: reading.limited,
            p50: reading.p50?.milliseconds, p95: reading.p95?.milliseconds)
    }

    /// Begins to watch what calls come to from here on.
    package func beginProbation(for length: Duration) -> Probation {
        let now = time.now()
        return Probation(before: pulseOfCalls.begin(at: now, length: length), for: length, at: now)
    }

    package func judge(_ probation: Probation) -> Probation.Verdict {
        let now = time.now()
        guard let after = pulseOfCalls.sinceBegin(at: now) else { return .passed }
        let verdict = probation.judge(after, at: now)
        if verdict != .open { pulseOfCalls.end() }
        return verdict
    }
}

extension BreakerFacts {
    /// The upstream, or the tool that has a breaker of its own.
    fileprivate var shownName: String { tool ?? upstream }
}

extension ToolSummary {
    fileprivate init(_ destination: Destination, title: String?) {
        self.init(
            name: destination.exposedName, owner: destination.backend.name, route: destination.backend.route,
            title: title, isEnabled: true, offline: destination.policy.offline.rawValue,
            isIdempotent: destination.policy.isIdempotent)
    }
}

extension OwnerBreaker {
    /// Held open, or not armed.
    fileprivate var isOrdered: Bool {
        let status = status
        return status.isForced || !status.isArmed
    }
}

extension Snapshot {
    fileprivate var toolBreakers: [OwnerBreaker] { routes.tools.values.compactMap { $0.gate?.breaker } }
}

// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Synchronization

/// Traffic with one upstream `erp` and one tool, which remembers what it was told.
final class ScriptedTraffic: TrafficOrders {
    private struct State {
        var orders: [String] = []
        var overrides: [Override] = []
        var limit: RateLimit?
        var isDraining = false
        var isKept = true
        var isRefusing = false
    }

    private let state = Mutex(State())

    /// What was ordered, in words of this test.
    var orders: [String] { state.withLock { $0.orders } }
    /// From here on nothing can be written down.
    func forgets() { state.withLock { $0.isKept = false } }
    func refuses() { state.withLock { $0.isRefusing = true } }

    private func take(_ words: String, _ terms: OrderTerms) -> Bool {
        state.withLock { state in
            let lasts = terms.lasts.map { " for \(Int($0.milliseconds / 1_000)) s" } ?? ""
            state.orders.append(words + lasts)
            return state.isKept
        }
    }

    private func check(_ upstream: String?) throws(OrderRefusal) {
        if state.withLock({ $0.isRefusing }) { throw OrderRefusal(words: "There are too many.") }
        guard upstream == nil || upstream == "erp" else {
            throw OrderRefusal(words: "There is no upstream of this name.", isMissing: true)
        }
    }

    func breakers() -> [BreakerFacts] {
        [
            BreakerFacts(
                upstream: "erp", tool: nil, state: "open", isArmed: true, isForced: false, calls: 4, failures: 3,
                slow: 1, nextProbe: .milliseconds(2_500))
        ]
    }

    func armBreakers(
        upstream: String?, force: Bool, _ terms: OrderTerms
    ) async throws(OrderRefusal) -> (opened: [String], isKept: Bool) {
        try check(upstream)
        return (["erp"], take("arm \(upstream ?? "all")\(force ? " by force" : "")", terms))
    }

    func disarmBreakers(upstream: String?, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool {
        try check(upstream)
        return take("disarm \(upstream ?? "all")", terms)
    }

    func rateLimit() -> (now: RateLimit?, file: RateLimit?) {
        (state.withLock { $0.limit }, RateLimit(perSecond: 100, burst: 200))
    }

    func setRateLimit(_ limit: RateLimit, _ terms: OrderTerms) async -> Bool {
        state.withLock { state in
            state.limit = limit
            state.overrides = [Override(kind: .rateLimit, value: limit.words, since: 0, by: terms.by)]
        }
        return take("limit \(limit.words)", terms)
    }

    func owners() -> [OwnerFacts] {
        [
            OwnerFacts(
                name: "erp", prefix: "erp", route: "upstream", isReachable: true, tools: 1, inFlight: 2, waiting: 1),
            OwnerFacts(
                name: "units", prefix: "units", route: "wasm", isReachable: true, tools: 1, inFlight: 0, waiting: 0),
        ]
    }

    func tools() -> [ToolSummary] {
        [
            ToolSummary(
                name: "erp__order", owner: "erp", route: "upstream", title: "Order", isEnabled: true, offline: "queue",
                isIdempotent: false)
        ]
    }

    func setTool(_ name: String, isEnabled: Bool, _ terms: OrderTerms) async throws(OrderRefusal) -> Bool {
        guard name == "erp__order" else { throw OrderRefusal(words: "There is no such tool.", isMissing: true) }
        return take("\(isEnabled ? "enable" : "disable") \(name)", terms)
    }

    func setDraining(_ isDraining: Bool, _ terms: OrderTerms) async {
        state.withLock { $0.isDraining = isDraining }
        _ = take("drain \(isDraining)", terms)
    }

    var isDraining: Bool { state.withLock { $0.isDraining } }
    var callsInFlight: Int { 3 }

    func overrides() -> [Override] { state.withLock { $0.overrides } }

    func undo(_ key: Override.Key?, by: String) async -> (undone: [Override], isKept: Bool) {
        state.withLock { state in
            let undone = state.overrides.filter { key == nil || $0.key == key }
            state.overrides.removeAll { key == nil || $0.key == key }
            if undone.contains(where: { $0.kind == .rateLimit }) { state.limit = nil }
            state.orders.append("undo \(key.map { $0.kind.rawValue } ?? "all")")
            return (undone, state.isKept)
        }
    }

    func pulse() -> TrafficPulse {
        TrafficPulse(seconds: 60, calls: 120, failed: 3, limited: 7, p50: 2, p95: 40)
    }
}

/// A configuration that is read as a test says.
final class ScriptedReload: ReloadOrders {
    private let outcome = Mutex<Result<ReloadReport, ReloadRefusal>>(
        .success(ReloadReport(changed: ["limits.burst"], waiting: ["server.listen"], probation: .seconds(60))))

    func answer(_ result: Result<ReloadReport, ReloadRefusal>) { outcome.withLock { $0 = result } }

    func reload(by who: String) async throws(ReloadRefusal) -> ReloadReport { try outcome.withLock { $0 }.get() }
}

/// A folder that is gone with the test.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/admin-test-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
    }

    deinit {
        for name in ["keys/tokens", "keys/tokens.lock"] { unlink(path + "/" + name) }
        rmdir(path + "/keys")
        rmdir(path)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

/// How the storage is, as the writer last saw it. Read by `/health` under a lock.
struct StoreState: Sendable {
    enum Condition: Sendable, Equatable {
        case well
        /// Works, with a flaw that operators should know of.
        case flawed(String)
        /// Cannot be written.
        case broken(String)
    }

    private(set) var condition: Condition = .well
    private(set) var since: Int64
    var checkedAt: Int64
    /// What was set aside at the start, in words.
    let quarantine: String?

    init(quarantine: String?, now: Int64) {
        self.quarantine = quarantine
        since = now
        checkedAt = now
    }

    /// Whether this is news.
    mutating func become(_ next: Condition, now: Int64) -> Bool {
        checkedAt = now
        guard next != condition else { return false }
        let isNews = next.rank != condition.rank
        if isNews { since = now }
        condition = next
        return isNews
    }

    var status: ComponentStatus {
        let (level, detail): (ComponentStatus.Level, String) =
            switch condition {
            case .broken(let reason): (.unhealthy, reason)
            case .flawed(let reason): (.degraded, reason)
            case .well: quarantine.map { (.degraded, $0) } ?? (.healthy, "the database is open and writable")
            }
        return ComponentStatus(
            name: "storage", status: level, detail: detail, isVital: true, checkedAt: checkedAt, since: since)
    }
}

extension StoreState.Condition {
    fileprivate var rank: Int {
        switch self {
        case .well: 0
        case .flawed: 1
        case .broken: 2
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

extension UpstreamPool {
    /// An upstream with the settings it goes by.
    struct Member: Sendable {
        let settings: UpstreamSettings
        let upstream: Upstream
    }

    /// Which upstreams there will be, made but not started.
    package struct Plan: Sendable {
        /// In the order of the settings; those that stay are the same objects as before.
        package var upstreams: [Upstream] { members.map(\.upstream) }
        /// The names of those that are new.
        package private(set) var added: [String] = []
        /// The names of those that are another server or process from now on.
        package private(set) var replaced: [String] = []
        /// The names of those that go on with other limits.
        package private(set) var adjusted: [String] = []
        /// The names of those that are gone.
        package private(set) var removed: [String] = []
        private(set) var members: [Member] = []
        let changes: Int

        /// - Parameter changes: how often the pool had changed when it had these members.
        init(
            _ settings: [UpstreamSettings], from old: [Member], changes: Int, _ fittings: UpstreamFittings
        ) throws(UpstreamSettingsError) {
            self.changes = changes
            for (index, one) in settings.enumerated() {
                let before = old.first { $0.settings.name == one.name }
                if let before, before.settings.canBecome(one) {
                    if before.settings != one { adjusted.append(one.name) }
                    members.append(Member(settings: one, upstream: before.upstream))
                    continue
                }
                if before == nil { added.append(one.name) } else { replaced.append(one.name) }
                // The tools of one that is replaced stay listed until the new one has said what it has.
                let upstream = try fittings.make(one, at: index, known: before?.upstream.lastOffers)
                members.append(Member(settings: one, upstream: upstream))
            }
            removed = old.map(\.settings.name).filter { name in !settings.contains { $0.name == name } }
        }
    }
}

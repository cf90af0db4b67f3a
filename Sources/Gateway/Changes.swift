// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Synchronization

/// Brings changes at the owners to the clients that want to hear of them, and the clients' wishes to the owners.
final class Changes: Sendable {
    let hub = ChangeHub()
    private let catalogue: Catalogue
    /// What each owner was told last, by its name.
    private let watched = Mutex<(order: Int, uris: [String: Set<String>])>((0, [:]))

    init(catalogue: Catalogue) { self.catalogue = catalogue }

    func offersChanged() {
        let changed = catalogue.rebuild()
        if !changed.isEmpty { hub.tell(changed) }
    }

    func updated(_ uri: String, of backend: String) {
        guard let owner = catalogue.owners.first(where: { $0.backend.name == backend }) else { return }
        hub.tell(updated: owner.resources.exposed(uri))
    }

    /// Whether an owner says when this resource changes.
    func canWatch(_ uri: String) -> Bool {
        catalogue.current.routes.resource(uri)?.backend.offers().announcesUpdates ?? false
    }

    /// Tells each owner what is wanted of it, when that is something else than before.
    func refreshWatches() async {
        let routes = catalogue.current.routes
        // What is wanted and its number belong together: whoever asks later has the higher one.
        let orders = watched.withLock { watched in
            var wanted: [String: Set<String>] = [:]
            for uri in hub.watched {
                guard let found = routes.resource(uri) else { continue }
                wanted[found.backend.name, default: []].insert(found.target)
            }
            watched.order += 1
            let changed = catalogue.owners.filter { owner in
                let name = owner.backend.name
                return (watched.uris[name] ?? []) != (wanted[name] ?? [])
            }
            watched.uris = wanted
            let order = watched.order
            return changed.map { (backend: $0.backend, uris: wanted[$0.backend.name] ?? [], order: order) }
        }
        for one in orders { await one.backend.watch(one.uris, order: one.order) }
    }

    func end(_ session: SessionKey) {
        for owner in catalogue.owners { owner.backend.forget(session) }
        let hadUris = !hub.watched.isEmpty
        hub.remove(session)
        // Nobody waits for it: the owner hears a little later that nobody listens any more.
        if hadUris { Task { await self.refreshWatches() } }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Synchronization

/// Brings changes at the owners to the clients that want to hear of them, and the clients' wishes to the owners.
final class Changes: Sendable {
    let hub = ChangeHub()
    private let catalogue: Catalogue
    private struct Watched {
        var order = 0
        /// What each owner was told last, by its name.
        var uris: [String: Set<String>] = [:]
        /// Where each exposed URI that is wanted was found.
        var places: [String: (owner: String, target: String)] = [:]
    }

    private let watched = Mutex(Watched())

    init(catalogue: Catalogue) { self.catalogue = catalogue }

    func offersChanged() {
        let changed = catalogue.rebuild()
        if !changed.isEmpty { hub.tell(changed) }
    }

    func updated(_ uri: String, of backend: String) {
        guard let owner = catalogue.owner(backend) else { return }
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
            var changed: Set<String> = []
            for (uri, isWanted) in hub.takeChanges() {
                if isWanted, watched.places[uri] == nil, let found = routes.resource(uri) {
                    watched.places[uri] = (found.backend.name, found.target)
                    if watched.uris[found.backend.name, default: []].insert(found.target).inserted {
                        changed.insert(found.backend.name)
                    }
                } else if !isWanted, let place = watched.places.removeValue(forKey: uri) {
                    watched.uris[place.owner]?.remove(place.target)
                    changed.insert(place.owner)
                }
            }
            watched.order += 1
            let order = watched.order
            return catalogue.owners.filter { changed.contains($0.backend.name) }.map {
                (backend: $0.backend, uris: watched.uris[$0.backend.name] ?? [], order: order)
            }
        }
        for one in orders { await one.backend.watch(one.uris, order: one.order) }
    }

    /// Tells every owner again what is wanted of it: one that was replaced knows nothing of it.
    func repeatWatches() async {
        let orders = watched.withLock { watched in
            watched.order += 1
            return catalogue.owners.compactMap { owner in
                watched.uris[owner.backend.name].map { (owner.backend, $0, watched.order) }
            }
        }
        for (backend, uris, order) in orders { await backend.watch(uris, order: order) }
    }

    func end(_ session: SessionKey) {
        for owner in catalogue.owners { owner.backend.forget(session) }
        hub.remove(session)
        // Nobody waits for it: the owner hears a little later that nobody listens any more.
        if hub.hasChanges { Task { await self.refreshWatches() } }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Synchronization

/// Brings changes at the owners to the clients that want to hear of them, and the clients' wishes to the owners.
final class Changes: Sendable {
    let hub = ChangeHub()
    private let catalogue: Catalogue
    /// What each owner was told last, by its name.
    private let watched = Mutex<[String: Set<String>]>([:])

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
        var wanted: [String: Set<String>] = [:]
        for uri in hub.watched {
            guard let found = routes.resource(uri) else { continue }
            wanted[found.backend.name, default: []].insert(found.target)
        }
        for owner in catalogue.owners {
            let uris = wanted[owner.backend.name] ?? []
            let isNews = watched.withLock { watched in
                defer { watched[owner.backend.name] = uris }
                return (watched[owner.backend.name] ?? []) != uris
            }
            if isNews { await owner.backend.watch(uris) }
        }
    }

    func end(_ session: SessionKey) {
        let hadUris = !hub.watched.isEmpty
        hub.remove(session)
        // Nobody waits for it: the owner hears a little later that nobody listens any more.
        if hadUris { Task { await self.refreshWatches() } }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import HTTPListener
package import MCPWire

/// Everything that stands behind the admin routes.
package struct AdminRooms: Sendable {
    var queue: any CallQueue
    var cache: any ReplyCache
    var care: any StorageCare
    var time: any TimeSource
    /// Tries every upstream now, lists it anew and sends what waits for it; by upstream what happened.
    var sync: @Sendable () async -> JSONValue

    package init(
        queue: any CallQueue, cache: any ReplyCache, care: any StorageCare, time: any TimeSource,
        sync: @escaping @Sendable () async -> JSONValue
    ) {
        self.queue = queue
        self.cache = cache
        self.care = care
        self.time = time
        self.sync = sync
    }
}

/// The orders and questions of operators. All of them can be asked for again without doing more than once.
package struct AdminRoutes: Sendable {
    private let gate: AdminGate
    private let storage: StorageCalls
    private let queue: QueueCalls

    package init(gate: AdminGate, rooms: AdminRooms) {
        self.gate = gate
        storage = StorageCalls(rooms: rooms)
        queue = QueueCalls(queue: rooms.queue, time: rooms.time)
    }

    package func add(to router: inout Router) {
        let exact: [(path: String, calls: [AdminCall])] = [
            ("/admin/cache/clear", [AdminCall("cache.clear", .post, storage.clearCache)]),
            ("/admin/rebuild-indices", [AdminCall("storage.rebuild", .post, storage.rebuild)]),
            ("/admin/backup", [AdminCall("storage.backup", .post, storage.backUp)]),
            ("/admin/verify", [AdminCall("storage.verify", .post, storage.verify)]),
            ("/admin/sync/force", [AdminCall("upstreams.sync", .post, storage.sync)]),
            ("/admin/queue", [AdminCall("queue.list", .get, queue.list)]),
            ("/admin/queue/purge", [AdminCall("queue.purge", .post, queue.purge)]),
        ]
        for one in exact {
            router.add(one.path, AdminRoute(gate: gate) { _ in one.calls }, isForOperators: true)
        }
        let queue = queue
        router.add(
            prefix: QueueCalls.prefix, AdminRoute(gate: gate) { queue.calls(at: $0) }, isForOperators: true)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

package import Access
package import GatewayCore
package import HTTPListener
package import MCPWire

/// Everything that stands behind the admin routes.
package struct AdminRooms: Sendable {
    package var queue: any CallQueue
    package var cache: any ReplyCache
    package var care: any StorageCare
    package var traffic: any TrafficOrders
    package var configuration: any ReloadOrders
    package var tokens: TokenBook
    /// A token was revoked.
    package var revoked: @Sendable () -> Void
    package var time: any TimeSource
    package var version: String
    /// Where the database is.
    package var folder: String
    /// False where one client is served over stdin and stdout alone.
    package var listens = true
    /// When the listener's certificate runs out, in seconds since 1970; nil without TLS.
    package var certificateExpires: @Sendable () -> Int? = { nil }
    /// What the look ahead at an outage has to know of the configuration in force.
    package var inForce: @Sendable () -> JSONValue = { .null }
    package var uptime: @Sendable () -> Duration
    /// What the rooms say about themselves.
    package var health: @Sendable () -> [ComponentStatus]
    /// Memory and processor, as JSON.
    package var load: @Sendable () -> JSONValue
    /// Tries every upstream now, lists it anew and sends what waits for it; by upstream what happened.
    package var sync: @Sendable () async -> JSONValue

    package init(
        queue: any CallQueue, cache: any ReplyCache, care: any StorageCare, traffic: any TrafficOrders,
        configuration: any ReloadOrders, tokens: TokenBook, revoked: @escaping @Sendable () -> Void = {},
        time: any TimeSource, version: String, folder: String = "",
        uptime: @escaping @Sendable () -> Duration, health: @escaping @Sendable () -> [ComponentStatus],
        load: @escaping @Sendable () -> JSONValue, sync: @escaping @Sendable () async -> JSONValue
    ) {
        self.queue = queue
        self.cache = cache
        self.care = care
        self.traffic = traffic
        self.configuration = configuration
        self.tokens = tokens
        self.revoked = revoked
        self.time = time
        self.version = version
        self.folder = folder
        self.uptime = uptime
        self.health = health
        self.load = load
        self.sync = sync
    }
}

/// The orders and questions of operators. All of them can be asked for again without doing more than once, but for a
/// new token.
package struct AdminRoutes: Sendable {
    private let gate: AdminGate
    /// One table for the routes, for what they take, and for their description.
    let calls: [AdminCall]

    package init(gate: AdminGate, rooms: AdminRooms) {
        self.gate = gate
        let known =
            GatewayCalls(rooms: rooms).calls + TrafficCalls(traffic: rooms.traffic, time: rooms.time).calls
            + QueueCalls(queue: rooms.queue, time: rooms.time).calls + StorageCalls(rooms: rooms).calls
            + TokenCalls(book: rooms.tokens, revoked: rooms.revoked, time: rooms.time).calls
        let description = AdminCall(
            "openapi", .get, "/admin/openapi.json", "This description, in OpenAPI 3.1."
        ) { _ throws(AdminRefusal) in
            AdminAnswer(
                words: "\(known.count) calls described", document: OpenAPI.document(of: known, version: rooms.version))
        }
        calls = known + [description]
    }

    package func add(to router: inout Router) {
        var places: [String: [AdminCall]] = [:]
        var order: [String] = []
        for call in calls {
            let key = call.path.firstIndex(of: "{").map { String(call.path[..<$0]) } ?? call.path
            if places[key] == nil { order.append(key) }
            places[key, default: []].append(call)
        }
        for key in order {
            let route = AdminRoute(gate: gate, calls: places[key] ?? [])
            if key.hasSuffix("/") {
                router.add(prefix: key, route, isForOperators: true)
            } else {
                router.add(key, route, isForOperators: true)
            }
        }
        // Strangers do not learn which paths there are.
        router.add(prefix: "/admin/", AdminRoute(gate: gate, calls: []), isForOperators: true)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

/// Something that answers requests of one path.
package protocol HTTPRoute: Sendable {
    /// Answers through `exchange`, exactly once. Runs on the connection's event loop and stays there.
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async
}

/// The paths a listener serves. Exact matches only: a path is a name here, not a pattern.
package struct Router: Sendable {
    struct Entry: Sendable {
        let path: String
        let route: any HTTPRoute
        /// Also served on the connections that are kept free for operators.
        let isForOperators: Bool
    }

    private(set) var entries: [Entry] = []

    package init() {}

    package mutating func add(_ path: String, _ route: any HTTPRoute, isForOperators: Bool = false) {
        entries.append(Entry(path: path, route: route, isForOperators: isForOperators))
    }

    /// The index of the entry, also the index of its metrics. A handful of paths: looking at each is the quickest way.
    func find(_ path: Substring) -> Int? {
        entries.firstIndex { $0.path == path }
    }
}

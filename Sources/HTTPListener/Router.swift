// Licensed under the Apache License 2.0; see LICENSE.

/// Something that answers requests of one path.
package protocol HTTPRoute: Sendable {
    /// Answers through `exchange`, exactly once. Runs on the connection's event loop and stays there.
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async
}

/// The paths a listener serves. A path is a name here, not a pattern; a few stand for everything below them.
package struct Router: Sendable {
    struct Entry: Sendable {
        let path: String
        let route: any HTTPRoute
        /// Also served on the connections that are kept free for operators.
        let isForOperators: Bool
        /// Stands for every path that begins so and goes on.
        let isPrefix: Bool

        /// What metrics call it: a name of ours, whatever a client asks for below a prefix.
        var label: String { isPrefix ? path + "*" : path }

        func fits(_ asked: Substring) -> Bool {
            isPrefix && asked.utf8.count > path.utf8.count && asked.hasPrefix(path)
        }
    }

    private(set) var entries: [Entry] = []

    package init() {}

    package mutating func add(_ path: String, _ route: any HTTPRoute, isForOperators: Bool = false) {
        entries.append(Entry(path: path, route: route, isForOperators: isForOperators, isPrefix: false))
    }

    /// Everything below `prefix`, which ends with `/`, except for paths that have a route of their own.
    package mutating func add(prefix: String, _ route: any HTTPRoute, isForOperators: Bool = false) {
        precondition(prefix.hasSuffix("/"), "a prefix ends where a name ends")
        entries.append(Entry(path: prefix, route: route, isForOperators: isForOperators, isPrefix: true))
    }

    /// The index of the entry, also the index of its metrics. A handful of paths: looking at each is the quickest way.
    func find(_ path: Substring) -> Int? {
        entries.firstIndex { !$0.isPrefix && $0.path == path } ?? entries.firstIndex { $0.fits(path) }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import Telemetry

/// What requests are judged and served by. A change brings new ones; a request keeps to those it began with.
struct HTTPRules: Sendable {
    let router: Router
    let limits: HTTPLimits
    /// nil on the control socket, which no web page can reach.
    let guardian: OriginGuard?
    let entrance: HTTPEntrance
    /// Grows with each change, so that of two at one time every loop ends with the same.
    let edition: Int
}

/// The rules in force on one loop, with the numbers that are counted under their paths. Used on that loop only.
final class LoopRules {
    let router: Router
    let limits: HTTPLimits
    let guardian: OriginGuard?
    let entrance: HTTPEntrance
    let edition: Int
    /// nil without TLS.
    let handshakeFailures: Counter?
    let streamSeconds: Histogram
    private let metrics: HTTPMetrics
    private var counters: [Int: Counter] = [:]
    private var histograms: [Int: Histogram] = [:]

    init(_ rules: HTTPRules, _ registry: MetricsRegistry) {
        router = rules.router
        limits = rules.limits
        guardian = rules.guardian
        entrance = rules.entrance
        handshakeFailures = entrance.tls == nil ? nil : registry.counter(.tlsHandshakeFailures)
        streamSeconds = registry.histogram(.streamSeconds, buckets: Histogram.streamSeconds)
        edition = rules.edition
        metrics = HTTPMetrics(registry: registry, paths: rules.router.entries.map(\.label) + ["other"])
        // A counter that appears with its first failure shows no increase to those who watch for one. What a query
        // for failures of clients' requests can meet stands at 0 from here on.
        for path in rules.router.entries.indices where !rules.router.entries[path].isForOperators {
            for status in [HTTPStatus.internalError, .unavailable] {
                counters[Self.key(.post, path, status)] = metrics.requests(verb: .post, path: path, status: status)
            }
        }
    }

    /// The index that stands for every path that is not ours.
    var otherPath: Int { router.entries.count }

    private static func key(_ verb: HTTPVerb, _ path: Int, _ status: HTTPStatus) -> Int {
        (path * HTTPVerb.allCases.count + verb.rawValue) * 1_000 + status.rawValue
    }

    func count(verb: HTTPVerb, path: Int, status: HTTPStatus, seconds: Double) {
        let key = Self.key(verb, path, status)
        if let counter = counters[key] {
            counter.increment()
        } else {
            let counter = metrics.requests(verb: verb, path: path, status: status)
            counters[key] = counter
            counter.increment()
        }
        if let histogram = histograms[path] {
            histogram.observe(seconds: seconds)
        } else {
            let histogram = metrics.duration(path: path)
            histograms[path] = histogram
            histogram.observe(seconds: seconds)
        }
    }
}

/// The two request metrics of the playbook. Labels come from our own tables, never from a client.
struct HTTPMetrics: Sendable {
    let registry: MetricsRegistry
    /// The path label of each route; the last one stands for every path that is not ours.
    let paths: [String]

    func requests(verb: HTTPVerb, path: Int, status: HTTPStatus) -> Counter {
        registry.counter(
            .httpRequests,
            labels: [("method", verb.label), ("path", paths[path]), ("status", String(status.rawValue))])
    }

    func duration(path: Int) -> Histogram {
        registry.histogram(
            .httpDuration, labels: [("path", paths[path])])
    }
}

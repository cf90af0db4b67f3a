// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// All numbers the gateway shows at `/metrics`.
///
/// Handles are made once and kept by whoever counts; asking again for the same name and labels gives the same handle.
/// The number of series of one name is bounded, so that no input can fill the memory: beyond the bound everything goes
/// to series whose growing label says `other`, and when there are too many of those as well, or no label is known to
/// grow, to one whose labels all say so. Asking for a name with another kind or other bounds is a mistake of ours and
/// stops the process.
package final class MetricsRegistry: Sendable {
    enum Cell: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case sampled(@Sendable () -> Double)
    }

    enum Kind: String, Sendable { case counter, gauge, histogram }

    struct Family: Sendable {
        var kind: Kind
        var help: String
        var bounds: [Double] = []
        /// By the text between the braces, which is also how it is printed.
        var series: [String: Cell] = [:]
        /// Series that are asked for at each `render` instead.
        var listed: (@Sendable () -> [(labels: String, number: Double)])?
    }

    private let families = Mutex<[String: Family]>([:])
    private let seriesMax: Int
    /// Series of one name that several share, beyond `seriesMax`.
    private static let sharedMax = 64

    /// - Parameter seriesMax: how many series one name may have.
    package init(seriesMax: Int = 1_000) {
        precondition(seriesMax > 0, "a name needs room for one series")
        self.seriesMax = seriesMax
    }

    /// - Parameter growing: the label whose values are many; what goes beyond the bound is told apart by the others.
    package func counter(
        _ name: String, help: String, labels: [(String, String)] = [], growing: String? = nil
    ) -> Counter {
        let cell = cell(name, .counter, help, labels, growing: growing) { .counter(Counter()) }
        guard case .counter(let counter) = cell else {
            preconditionFailure("\(name) is read from elsewhere, it has no counter to add to")
        }
        return counter
    }

    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Gauge {
        let cell = cell(name, .gauge, help, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = cell else {
            preconditionFailure("\(name) is read from elsewhere, it has no gauge to set")
        }
        return gauge
    }

    package func histogram(
        _ name: String, help: String, buckets: [Double] = Histogram.requestSeconds, labels: [(String, String)] = []
    ) -> Histogram {
        let cell = cell(name, .histogram, help, labels, bounds: buckets) { .histogram(Histogram(bounds: buckets)) }
        guard case .histogram(let histogram) = cell else { preconditionFailure("\(name) is no histogram") }
        return histogram
    }

    /// A gauge whose value is asked for at each `render`. The closure must answer at once; a later one for the same
    /// labels takes its place.
    package func gauge(
        _ name: String, help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        sample(name, .gauge, help, labels, read)
    }

    /// A gauge with one label whose values come and go: which series there are is asked for at each `render`. The
    /// closure must answer at once, each value once; the first `seriesMax` are shown.
    package func gauges(
        _ name: String, help: String, label: String, read: @escaping @Sendable () -> [(value: String, number: Double)]
    ) {
        precondition(Self.isName(name) && Self.isName(label), "bad name: \(name) or \(label)")
        let listed: @Sendable () -> [(labels: String, number: Double)] = { [seriesMax] in
            read().prefix(seriesMax).map { (MetricsText.labels([(label, $0.value)]), $0.number) }
        }
        families.withLock { families in
            precondition(
                families[name] == nil || families[name]?.listed != nil, "\(name) exists with series of its own")
            families[name] = Family(kind: .gauge, help: help, listed: listed)
        }
    }

    /// The same for a number that only grows.
    package func counter(
        _ name: String, help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
    ) {
        sample(name, .counter, help, labels, read)
    }

    private func sample(
        _ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)],
        _ read: @escaping @Sendable () -> Double
    ) {
        _ = cell(name, kind, help, labels, replaces: true) { .sampled(read) }
    }

    private func cell(
        _ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)], bounds: [Double] = [],
        growing: String? = nil, replaces: Bool = false, make: () -> Cell
    ) -> Cell {
        precondition(Self.isName(name) && !labels.contains { !Self.isName($0.0) || $0.0 == "le" }, "bad name: \(name)")
        let key = MetricsText.labels(labels)
        return families.withLock { families in
            var family = families[name] ?? Family(kind: kind, help: help, bounds: bounds)
            precondition(family.kind == kind && family.bounds == bounds, "\(name) exists with another kind or bounds")
            let place = place(key, labels, growing: growing, in: family)
            if !replaces, let found = family.series[place] { return found }
            let made = make()
            family.series[place] = made
            families[name] = family
            return made
        }
    }

    /// Where a series is: in a place of its own, or in one that it shares.
    private func place(_ key: String, _ labels: [(String, String)], growing: String?, in family: Family) -> String {
        if family.series[key] != nil || family.series.count < seriesMax { return key }
        let shared = MetricsText.labels(labels.map { ($0.0, growing == nil || $0.0 == growing ? "other" : $0.1) })
        let hasSpace = family.series[shared] != nil || family.series.count < seriesMax + Self.sharedMax
        return growing == nil || hasSpace ? shared : MetricsText.labels(labels.map { ($0.0, "other") })
    }

    /// Whether so many series more leave at least half of those that a name may have to others.
    package func hasSpace(for count: Int, in name: String) -> Bool {
        families.withLock { ($0[name]?.series.count ?? 0) + count <= seriesMax / 2 }
    }

    /// Takes out all series of a name whose first label has none of these values; `other` stays.
    package func keep(_ name: String, firstLabel label: String, values: some Sequence<String>) {
        let kept = Set(values.map { MetricsText.labels([(label, $0)]) } + [MetricsText.labels([(label, "other")])])
        // What a closure holds may take locks of its own when it goes, so it goes after ours.
        _ = families.withLock { families -> [String: Cell]? in
            guard let series = families[name]?.series else { return nil }
            let left = series.filter { kept.contains(MetricsText.first(of: $0.key)) }
            families[name]?.series = left
            if left.isEmpty { families[name] = nil }
            return series
        }
    }

    /// Takes one series out: `render` shows it no longer, and what its closure held on to is let go of. Handles that
    /// somebody still has count on, unseen. The same name and labels may come again, as a series that begins anew.
    ///
    /// - Parameter labels: in the order in which they were given when the series was made.
    package func remove(_ name: String, labels: [(String, String)]) {
        let key = MetricsText.labels(labels)
        // What a closure holds may take locks of its own when it goes, so it goes after ours.
        _ = families.withLock { families -> Cell? in
            let gone = families[name]?.series.removeValue(forKey: key)
            if families[name]?.series.isEmpty == true { families[name] = nil }
            return gone
        }
    }

    /// Letters, digits and underscores, no digit first.
    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(48...57).contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte) || byte == 95
        }
    }

    /// The Prometheus text format 0.0.4, families by name, series by labels. Costs about a microsecond a series.
    package func render() -> [UInt8] {
        let families = families.withLock { $0 }
        var text = MetricsText()
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text.begin(name, kind: family.kind.rawValue, help: family.help)
            for (labels, number) in (family.listed?() ?? []).sorted(by: { $0.labels < $1.labels }) {
                text.line(name, labels, MetricsText.number(number))
            }
            for (labels, cell) in family.series.sorted(by: { $0.key < $1.key }) {
                switch cell {
                case .counter(let counter): text.line(name, labels, "\(counter.value)")
                case .gauge(let gauge): text.line(name, labels, MetricsText.number(gauge.value))
                case .sampled(let read): text.line(name, labels, MetricsText.number(read()))
                case .histogram(let histogram): text.histogram(name, labels, histogram)
                }
            }
        }
        return text.bytes
    }
}

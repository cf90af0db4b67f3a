// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener
internal import MCPWire

/// What the configuration says about an outage. A gateway that runs tells what is in force, which the file may not say
/// any more.
struct OutageTerms: Sendable, Equatable {
    var queueItemsMax: Int
    var queueBytesMax: Int
    /// nil for no bound of its own.
    var queuePerCallerMax: Int?
    /// A full queue gives up its oldest call for a new one.
    var dropsOldest: Bool
    /// When the first call that is stored now is given up; nil where none would be stored.
    var firstExpiry: Duration?
    /// Upstreams that can be reached without any network.
    var local: Set<String>

    init(_ settings: GatewaySettings) {
        queueItemsMax = settings.storage.queueItemsMax
        queueBytesMax = settings.storage.queueBytesMax
        queuePerCallerMax = settings.storage.queuePerCallerMax
        dropsOldest = settings.storage.dropsOldest
        firstExpiry =
            settings.upstreams.flatMap(\.exposure.edits.values).map(\.policy).filter { $0.offline == .queue }
            .map(\.expires).min()
        local = Set(settings.upstreams.filter(\.isOfThisMachine).map(\.name))
    }

    /// Nil for a gateway of another version, which does not tell.
    init?(_ json: JSONValue?) {
        guard let items = json?["queue"]?["max_items"]?.intValue, let bytes = json?["queue"]?["max_bytes"]?.intValue
        else { return nil }
        let queue = json?["queue"]
        (queueItemsMax, queueBytesMax) = (items, bytes)
        queuePerCallerMax = queue?["max_per_caller"]?.intValue
        dropsOldest = queue?["drops_oldest"]?.boolValue == true
        firstExpiry = queue?["first_expiry_seconds"]?.intValue.map { .seconds($0) }
        local = Set((json?["local_upstreams"]?.arrayValue ?? []).compactMap(\.stringValue))
    }

    var json: JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map { .number(String($0)) } ?? .null }
        return .object([
            (
                "queue",
                .object([
                    ("max_items", number(queueItemsMax)), ("max_bytes", number(queueBytesMax)),
                    ("max_per_caller", number(queuePerCallerMax)), ("drops_oldest", .bool(dropsOldest)),
                    ("first_expiry_seconds", number(firstExpiry.map { Int($0.components.seconds) })),
                ])
            ), ("local_upstreams", .array(local.sorted().map { .string($0) })),
        ])
    }
}

extension UpstreamSettings {
    /// Whether it can be reached without any network.
    var isOfThisMachine: Bool {
        switch transport {
        case .stdio: true
        case .http(let url, _): OriginGuard.isLoopback(Self.host(of: url))
        }
    }

    static func host(of url: String) -> String {
        guard let mark = url.firstRange(of: "://") else { return "" }
        let rest = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" }
        let place = rest.split(separator: "@").last ?? ""
        if place.hasPrefix("["), let end = place.firstIndex(of: "]") {
            return String(place[place.index(after: place.startIndex)..<end])
        }
        return String(place.prefix { $0 != ":" })
    }
}

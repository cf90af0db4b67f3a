// Licensed under the Apache License 2.0; see LICENSE.

/// The dialects that are understood, by what differs between them.
enum Draft: Sendable {
    case draft7
    case draft2019
    case draft2020

    /// What is said about a dialect that is not understood.
    static let known = "2020-12, 2019-09 and draft-07"

    /// The dialect that `$schema` names.
    init?(address: String) {
        var name = Substring(address)
        if name.hasSuffix("#") { name = name.dropLast() }
        for scheme in ["https://", "http://"] where name.hasPrefix(scheme) {
            switch name.dropFirst(scheme.count) {
            case "json-schema.org/draft-07/schema": self = .draft7
            case "json-schema.org/draft/2019-09/schema": self = .draft2019
            case "json-schema.org/draft/2020-12/schema": self = .draft2020
            default: return nil
            }
            return
        }
        return nil
    }

    /// In draft-07 whatever stands beside a `$ref` is ignored.
    var isReferenceAlone: Bool { self == .draft7 }
    /// In draft-07 an anchor is an `$id` that is only a fragment.
    var hasAnchorKeyword: Bool { self != .draft7 }
    var hasPrefixItems: Bool { self == .draft2020 }
    var hasDynamicReference: Bool { self == .draft2020 }
    var hasRecursiveReference: Bool { self == .draft2019 }
    /// `dependencies` became `dependentRequired` and `dependentSchemas`; 2019-09 still knows both.
    var hasDependencies: Bool { self != .draft2020 }
    var hasDependents: Bool { self != .draft7 }
    var hasUnevaluated: Bool { self != .draft7 }
    var hasContainsBounds: Bool { self != .draft7 }
    /// Whether an item that `contains` has found counts as evaluated.
    var doesContainsEvaluate: Bool { self == .draft2020 }
}

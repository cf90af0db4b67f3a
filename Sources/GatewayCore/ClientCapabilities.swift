// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire

/// What a client can do for a server: answer questions, and take tasks for results.
package struct ClientCapabilities: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let roots = ClientCapabilities(rawValue: 1)
    package static let sampling = ClientCapabilities(rawValue: 2)
    package static let samplingTools = ClientCapabilities(rawValue: 4)
    package static let elicitationForm = ClientCapabilities(rawValue: 8)
    package static let elicitationURL = ClientCapabilities(rawValue: 16)
    package static let samplingContext = ClientCapabilities(rawValue: 32)
    /// The extension `io.modelcontextprotocol/tasks`.
    package static let tasks = ClientCapabilities(rawValue: 64)

    /// Those by which a server may ask something.
    package static let interactive: ClientCapabilities = [.roots, .sampling, .elicitationForm, .elicitationURL]

    package static let tasksExtension = "io.modelcontextprotocol/tasks"

    /// From the `capabilities` of `initialize`, or the `clientCapabilities` of one request.
    package init(_ json: JSONValue?) {
        var set: ClientCapabilities = []
        if json?["roots"]?.isObject == true { set.insert(.roots) }
        if let sampling = json?["sampling"], sampling.isObject {
            set.insert(.sampling)
            if sampling["tools"]?.isObject == true { set.insert(.samplingTools) }
            if sampling["context"]?.isObject == true { set.insert(.samplingContext) }
        }
        if let elicitation = json?["elicitation"], elicitation.isObject {
            // `{}` means forms, as it did before there was another kind.
            if elicitation["form"] != nil || elicitation["url"] == nil { set.insert(.elicitationForm) }
            if elicitation["url"] != nil { set.insert(.elicitationURL) }
        }
        if json?["extensions"]?[Self.tasksExtension]?.isObject == true { set.insert(.tasks) }
        self = set
    }

    /// Without what the revision does not know: a client may say it, and still cannot mean it.
    package func known(in revision: Revision) -> ClientCapabilities {
        var known = self
        if revision < .v2025_06_18 { known.subtract([.elicitationForm, .elicitationURL]) }
        if revision < .v2025_11_25 { known.subtract([.elicitationURL, .samplingTools, .samplingContext]) }
        if !revision.isModern { known.subtract(.tasks) }
        return known
    }

    /// As it is declared to a server of `revision`: nothing that the revision does not know.
    package func json(for revision: Revision) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = []
        if contains(.roots) { members.append(("roots", [:])) }
        if contains(.sampling) {
            var inner: [(key: String, value: JSONValue)] = []
            if revision >= .v2025_11_25 {
                if contains(.samplingContext) { inner.append(("context", [:])) }
                if contains(.samplingTools) { inner.append(("tools", [:])) }
            }
            members.append(("sampling", .object(inner)))
        }
        if revision >= .v2025_06_18, contains(.elicitationForm) || contains(.elicitationURL) {
            var inner: [(key: String, value: JSONValue)] = []
            if revision >= .v2025_11_25 {
                if contains(.elicitationForm) { inner.append(("form", [:])) }
                if contains(.elicitationURL) { inner.append(("url", [:])) }
            }
            if contains(.elicitationForm) || !inner.isEmpty { members.append(("elicitation", .object(inner))) }
        }
        if revision.isModern, contains(.tasks) {
            members.append(("extensions", .object([(key: Self.tasksExtension, value: JSONValue.object([]))])))
        }
        return .object(members)
    }

    /// Whether a client that declared this may be asked this question.
    package func allow(_ question: Question) -> Bool {
        switch question.kind {
        case .roots: return contains(.roots)
        case .elicitation:
            return question.params["mode"]?.stringValue == "url"
                ? contains(.elicitationURL) : contains(.elicitationForm)
        case .sampling:
            guard contains(.sampling) else { return false }
            if question.params["tools"] != nil || question.params["toolChoice"] != nil {
                return contains(.samplingTools)
            }
            return true
        }
    }
}

/// How important a log message is (RFC 5424 names).
package enum LogLevel: String, Sendable, Comparable, CaseIterable {
    case debug, info, notice, warning, error, critical, alert, emergency

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    package static func < (left: LogLevel, right: LogLevel) -> Bool { left.rank < right.rank }
}

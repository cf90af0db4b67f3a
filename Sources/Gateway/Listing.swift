// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import Synchronization

/// The four kinds of list.
enum ListKind: Int, Sendable, CaseIterable {
    case tools, prompts, resources, templates

    /// The member of the result that holds the list.
    var member: String {
        switch self {
        case .tools: "tools"
        case .prompts: "prompts"
        case .resources: "resources"
        case .templates: "resourceTemplates"
        }
    }

    /// The member of an item by which it is asked for.
    var key: String {
        switch self {
        case .tools, .prompts: "name"
        case .resources: "uri"
        case .templates: "uriTemplate"
        }
    }
}

/// One line of a list, before it is written for a revision.
struct ListedItem: Sendable {
    /// What clients ask for it by.
    let exposed: String
    let definition: JSONValue
    /// nil for what the gateway offers itself.
    let owner: Owner?
    var outputShape: ToolFacts.OutputShape = .free
    /// Its input schema asks for arguments in headers, which legacy revisions know nothing of.
    var hasHeaders = false
    /// What it asks for in headers makes no sense, and nobody is shown it.
    var hidesHeaders = false
    /// Its calls may be answered with something else than its output.
    var isStored = false
}

/// The finished `result` of one list for each revision: lists are asked for often and change seldom. Written when first
/// asked for.
final class Listing: Sendable {
    let kind: ListKind
    let items: [ListedItem]
    private let identity: ServerIdentity
    private struct Form: Hashable {
        let revision: Revision
        let takesTasks: Bool
    }

    private let written = Mutex<[Form: [UInt8]]>([:])

    /// How long a client may keep a list, in milliseconds. Short: a client that does not listen learns of a change only
    /// by asking.
    static let ttlMilliseconds = 5_000

    init(kind: ListKind, items: [ListedItem], identity: ServerIdentity) {
        self.kind = kind
        self.items = items
        self.identity = identity
    }

    /// Items are carried as their owners wrote them, but for names and for members that a revision does not know.
    ///
    /// - Parameter takesTasks: the client gets a task for a call that is stored. To others tools whose calls may be
    ///   stored promise no output, because they may answer in words first.
    func result(_ revision: Revision, takesTasks: Bool = false) -> [UInt8] {
        let form = Form(revision: revision, takesTasks: takesTasks && items.contains(where: \.isStored))
        if let known = written.withLock({ $0[form] }) { return known }
        let json = write(form)
        written.withLock { $0[form] = json }
        return json
    }

    /// Whether clients of the newest revision would see a difference.
    func differs(from other: Listing) -> Bool { result(.modern) != other.result(.modern) }

    private func write(_ form: Form) -> [UInt8] {
        let revision = form.revision
        var out: [UInt8] = Array((revision.isModern ? #"{"resultType":"complete",""# : #"{""#).utf8)
        out.append(contentsOf: kind.member.utf8)
        out.append(contentsOf: "\":[".utf8)
        for (index, item) in items.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            var shown = ItemText.shown(item, kind, revision)
            if item.isStored, !form.takesTasks { shown = shown.without("outputSchema") }
            if item.isStored, revision == .v2025_11_25 {
                shown = shown.with("execution", ["taskSupport": "optional"])
            }
            shown.write(to: &out)
        }
        out.append(UInt8(ascii: "]"))
        if revision.isModern {
            out.append(contentsOf: #","ttlMs":\#(Self.ttlMilliseconds),"cacheScope":"private","_meta":"#.utf8)
            JSONValue.object([(ModernMeta.serverInfo, identity.json)]).write(to: &out)
        }
        out.append(UInt8(ascii: "}"))
        return out
    }
}

/// How one item reads in one revision.
enum ItemText {
    static func shown(_ item: ListedItem, _ kind: ListKind, _ revision: Revision) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [(kind.key, .string(item.exposed))]
        var isDescribed = false
        var isNamed = kind == .tools || kind == .prompts
        for member in item.definition.objectValue ?? [] where member.key != kind.key {
            guard let value = value(member.key, member.value, item, kind, revision) else { continue }
            if member.key == "description" { isDescribed = true }
            if member.key == "name" { isNamed = true }
            members.append((member.key, value))
        }
        if !isNamed { members.append(("name", .string(item.exposed))) }
        // Some clients insist on a description though the protocol does not.
        if !isDescribed { members.append(("description", .string("\(words(kind)) \(item.exposed)"))) }
        return titled(.object(members), item, kind, revision)
    }

    private static func words(_ kind: ListKind) -> String {
        switch kind {
        case .tools: "Tool"
        case .prompts: "Prompt"
        case .resources: "Resource"
        case .templates: "Resources of the form"
        }
    }

    /// A member as the revision knows it; nil when it does not. Task support is the gateway's own affair.
    private static func value(
        _ key: String, _ value: JSONValue, _ item: ListedItem, _ kind: ListKind, _ revision: Revision
    ) -> JSONValue? {
        switch key {
        case "execution": return nil
        case "inputSchema" where item.hidesHeaders || (item.hasHeaders && !revision.isModern):
            return HeaderParameter.removed(from: value)
        case "annotations" where kind == .tools: return revision >= .v2025_03_26 ? value : nil
        case "title": return revision >= .v2025_06_18 ? value : nil
        case "icons": return revision >= .v2025_11_25 ? ownIcons(value) : nil
        case "_meta": return revision >= .v2025_06_18 ? meta(value, item.owner) : nil
        case "outputSchema" where kind == .tools: return outputSchema(value, item.outputShape, revision)
        default: return value
        }
    }

    /// Consumers are told to take icons from the server they talk to only, and that is us: what is not in the list
    /// itself is left out.
    private static func ownIcons(_ icons: JSONValue) -> JSONValue? {
        let kept = (icons.arrayValue ?? []).filter { $0["src"]?.stringValue?.hasPrefix("data:") == true }
        return kept.isEmpty ? nil : .array(kept)
    }

    /// The one `_meta` member that is known to hold a URI of the owner's (MCP Apps).
    private static func meta(_ meta: JSONValue, _ owner: Owner?) -> JSONValue {
        guard let owner else { return meta }
        return meta.mapping("ui") { ui in
            ui.mapping("resourceUri") { uri in
                uri.stringValue.map { .string(owner.resources.exposed($0)) } ?? uri
            }
        }
    }

    private static func outputSchema(
        _ schema: JSONValue, _ shape: ToolFacts.OutputShape, _ revision: Revision
    ) -> JSONValue? {
        guard revision >= .v2025_06_18 else { return nil }
        if revision.isModern { return schema }
        switch shape {
        case .free, .object: return schema
        case .wrapped: return OutputWrapping.schema(schema)
        case .hidden: return nil
        }
    }

    /// Before there were titles, tools had one among their annotations.
    private static func titled(
        _ shown: JSONValue, _ item: ListedItem, _ kind: ListKind, _ revision: Revision
    ) -> JSONValue {
        guard kind == .tools, revision == .v2025_03_26, let title = item.definition["title"],
            shown["annotations"]?["title"] == nil
        else { return shown }
        return shown.with("annotations", (shown["annotations"] ?? [:]).with("title", title))
    }
}

/// Reserved `_meta` keys of the stateless era.
enum ModernMeta {
    static let prefix = "io.modelcontextprotocol/"
    static let serverInfo = "io.modelcontextprotocol/serverInfo"
    static let subscriptionID = "io.modelcontextprotocol/subscriptionId"
    static let logLevel = "io.modelcontextprotocol/logLevel"
}

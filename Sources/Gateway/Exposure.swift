// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire

/// Which tools of an owner are shown, and how they are called and described.
package struct Exposure: Sendable {
    /// Over the owner's own names.
    package var filter: NameFilter
    /// By the owner's own name.
    package var edits: [String: ToolEdit]

    package init(filter: NameFilter = NameFilter(allow: [], deny: []), edits: [String: ToolEdit] = [:]) {
        self.filter = filter
        self.edits = edits
    }

    /// Compares bytes, as routes do: Swift's strings call some different spellings equal.
    func edit(for tool: String) -> ToolEdit? {
        guard let index = edits.index(forKey: tool), edits[index].key.utf8.elementsEqual(tool.utf8) else { return nil }
        return edits[index].value
    }
}

/// Another name or description for one tool, and what may be done with its calls.
package struct ToolEdit: Sendable, Equatable {
    package var name: String?
    package var title: String?
    package var description: String?
    package var policy: ToolPolicy

    package init(
        name: String? = nil, title: String? = nil, description: String? = nil, policy: ToolPolicy = ToolPolicy()
    ) {
        self.policy = policy
        self.name = name
        self.title = title
        self.description = description
    }

    func applied(to definition: JSONValue) -> JSONValue {
        var edited = definition
        if let title { edited = edited.with("title", .string(title)) }
        if let description { edited = edited.with("description", .string(description)) }
        return edited
    }
}

extension NameFilter.Decision {
    var isAllowed: Bool {
        switch self {
        case .allowed: true
        case .denied, .notAllowed: false
        }
    }
}

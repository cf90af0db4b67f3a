// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire

/// Who the gateway says it is, to clients and to upstreams alike.
package struct ServerIdentity: Sendable {
    package let name: String
    package let version: String
    /// Free text for the model, shown at the beginning of a conversation.
    package let instructions: String

    package init(name: String = "mcp-gateway", version: String, instructions: String) {
        self.name = name
        self.version = version
        self.instructions = instructions
    }

    /// `{"name":…,"version":…}`
    package var json: JSONValue { ["name": .string(name), "version": .string(version)] }
}

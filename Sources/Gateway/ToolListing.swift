// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// Writes the result of `tools/list`. Definitions are carried as their owners wrote them, but for the name and for
/// members that a revision does not know.
enum ToolListing {
    /// How long a client may keep the list, in milliseconds. Short: clients of the stateless era learn of a change only
    /// by asking.
    static let ttlMilliseconds = 5_000

    static func result(
        _ tools: [(name: String, json: [UInt8])], revision: Revision, identity: ServerIdentity
    ) -> [UInt8] {
        var out: [UInt8] = Array((revision.isModern ? #"{"resultType":"complete","tools":["# : #"{"tools":["#).utf8)
        for (index, tool) in tools.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            writeDefinition(tool.json, name: tool.name, revision: revision, to: &out)
        }
        out.append(contentsOf: "]".utf8)
        if revision.isModern {
            out.append(contentsOf: #","ttlMs":\#(ttlMilliseconds),"cacheScope":"private","_meta":"#.utf8)
            JSONValue.object([(ModernMeta.serverInfo, identity.json)]).write(to: &out)
        }
        out.append(UInt8(ascii: "}"))
        return out
    }

    private static func writeDefinition(
        _ definition: [UInt8], name: String, revision: Revision, to out: inout [UInt8]
    ) {
        let bytes = definition.span
        // A definition reached us through the same scanner, so it scans again.
        let members = (try? MessageParser.object(bytes, limits: WireLimits()).members) ?? []
        out.append(contentsOf: #"{"name":"#.utf8)
        JSONText.append(name, to: &out)
        var isDescribed = false
        for member in members where isShown(member, bytes, revision) {
            if member.isNamed("description", in: bytes) { isDescribed = true }
            out.append(contentsOf: ",\"".utf8)
            out.append(contentsOf: definition[member.key])
            out.append(contentsOf: "\":".utf8)
            out.append(contentsOf: definition[member.value])
        }
        if !isDescribed {
            // Some clients insist on a description though the protocol does not.
            out.append(contentsOf: #","description":"#.utf8)
            JSONText.append("Tool \(name)", to: &out)
        }
        out.append(UInt8(ascii: "}"))
    }

    /// Which members a revision knows; the name is written apart, and task support is the gateway's own affair.
    private static func isShown(_ member: Member, _ bytes: Span<UInt8>, _ revision: Revision) -> Bool {
        if member.isNamed("name", in: bytes) || member.isNamed("execution", in: bytes) { return false }
        if member.isNamed("annotations", in: bytes) { return revision >= .v2025_03_26 }
        if member.isNamed("title", in: bytes) { return revision >= .v2025_06_18 }
        if member.isNamed("icons", in: bytes) { return revision >= .v2025_11_25 }
        if member.isNamed("outputSchema", in: bytes) {
            return revision >= .v2025_06_18 && (revision.isModern || describesObject(bytes, member.value))
        }
        return true
    }

    /// Before 2026-07-28 structured output was always an object.
    private static func describesObject(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        (try? JSONValue.parse(bytes.extracting(range)))?["type"]?.stringValue == "object"
    }
}

/// Reserved `_meta` keys of the stateless era.
enum ModernMeta {
    static let prefix = "io.modelcontextprotocol/"
    static let serverInfo = "io.modelcontextprotocol/serverInfo"
}

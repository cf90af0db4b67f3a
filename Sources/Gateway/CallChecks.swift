// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import JSONSchema
internal import MCPWire
internal import NIOCore

/// What is looked at in a call's arguments and in its result before they go on. Most calls have nothing to be looked
/// at, and then no tree is built.
enum CallChecks {
    enum Verdict: Sendable, Equatable {
        case fits
        /// A header says something else than the body (revision 2026-07-28).
        case badHeader(String)
        case badArguments(String)
    }

    static func judge(_ inbound: InboundMessage, _ destination: Destination) -> Verdict {
        guard destination.operation == .tool, let tool = destination.tool else { return .fits }
        let checksHeaders = !tool.headers.isEmpty && inbound.parameterHeaders != nil
        guard checksHeaders || tool.input != nil else { return .fits }
        let bytes = inbound.bytes.readableBytesUInt8Span
        // The message was scanned before, within the limits of its transport.
        let limits = WireLimits(bytesMax: .max)
        let arguments =
            inbound.message.member("arguments", in: bytes).flatMap {
                try? JSONValue.parse(bytes.extracting($0.value), limits: limits)
            } ?? [:]
        if checksHeaders, let words = headerProblem(tool.headers, inbound.parameterHeaders ?? [], arguments) {
            return .badHeader(words)
        }
        guard let violations = tool.input?.violations(of: arguments), !violations.isEmpty else { return .fits }
        return .badArguments(words(violations))
    }

    /// Words for what is wrong with the arguments of a call that is to be stored; nil when nothing is.
    static func storedProblem(_ inbound: InboundMessage, _ destination: Destination) -> String? {
        guard let schema = destination.tool?.storedInput else { return nil }
        let bytes = inbound.bytes.readableBytesUInt8Span
        let arguments =
            inbound.message.member("arguments", in: bytes).flatMap {
                try? JSONValue.parse(bytes.extracting($0.value), limits: WireLimits(bytesMax: .max))
            } ?? [:]
        let violations = schema.violations(of: arguments)
        return violations.isEmpty ? nil : words(violations)
    }

    private static func headerProblem(
        _ parameters: [HeaderParameter], _ headers: [(name: String, value: String)], _ arguments: JSONValue
    ) -> String? {
        for parameter in parameters {
            let values = headers.filter { $0.name == parameter.header }.map { HeaderText.trimmed($0.value) }
            let name = "Mcp-Param-\(parameter.name)"
            guard values.count <= 1 else { return "The header \(name) stands more than once." }
            let expected = parameter.text(in: arguments)
            guard let header = values.first else {
                if expected != nil { return "The header \(name) is missing." }
                continue
            }
            guard let decoded = HeaderText.decode(header) else { return "The header \(name) is not valid base64." }
            guard let expected, parameter.agrees(decoded, with: expected) else {
                return "The header \(name) differs from the argument in the body."
            }
        }
        return nil
    }

    /// Words for what is wrong with the output of a tool of ours; nil when nothing is.
    static func outputProblem(_ payload: Payload, _ destination: Destination) -> String? {
        guard let schema = destination.tool?.output, !payload.saysError else { return nil }
        guard let member = payload.member("structuredContent"), let value = payload.tree(member) else {
            return "it promises structured output and gave none"
        }
        let violations = schema.violations(of: value)
        return violations.isEmpty ? nil : "its structured output is not what it promises: \(words(violations))"
    }

    private static func words(_ violations: [SchemaViolation]) -> String {
        violations.map { $0.place.isEmpty ? $0.words : "\($0.place): \($0.words)" }.joined(separator: "; ")
    }
}

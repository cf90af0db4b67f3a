// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Telemetry

/// The frame around every message: the span that records it, for those that are recorded.
extension Pipeline {
    package func handle(_ inbound: InboundMessage) async -> Reply {
        let parent = inbound.message.trace(in: inbound.bytes) ?? inbound.trace
        guard inbound.message.isWorthASpan,
            let span = tracer.begin(inbound.message.method.knownName, .server, under: parent)
        else {
            guard parent != inbound.trace else { return await answer(inbound) }
            var inbound = inbound
            inbound.trace = parent
            return await answer(inbound)
        }
        span.note("mcp.method.name", inbound.message.method.knownName)
        span.note("mcp.protocol.version", inbound.revision.name)
        span.note("mcp_gateway.request_id", inbound.requestID.description)
        span.note("mcp_gateway.caller", inbound.caller.name)
        var recorded = inbound
        recorded.trace = span.context
        recorded.span = span
        let reply = await answer(recorded)
        tracer.end(span)
        return reply
    }
}

extension Message {
    /// A stream that stays open says nothing about how long anything took.
    fileprivate var isWorthASpan: Bool { kind == .request && method != .ping && method != .listen }

    /// What `_meta` says of the trace, which was written for whoever reads the message, however many hops it took.
    func trace(in bytes: ByteBuffer) -> TraceContext? {
        guard !meta.isEmpty else { return nil }
        let view = bytes.readableBytesUInt8Span
        guard let parent = metaMember("traceparent", in: view), let text = parent.plainText(in: view) else {
            return nil
        }
        let state = metaMember("tracestate", in: view).flatMap { $0.plainText(in: view) }
        return TraceContext(parent: text.utf8, state: state)
    }
}

extension Member {
    /// The text of a string; nil for anything else.
    fileprivate func plainText(in bytes: Span<UInt8>) -> String? {
        guard kind == .string, value.count <= 2_048 else { return nil }
        // A member of a message that was parsed is JSON.
        return (try? JSONValue.parse(bytes.extracting(value)))?.stringValue
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// Spans as `ExportTraceServiceRequest` of OTLP 1.x in its JSON form: ids in hexadecimal, 64-bit numbers as texts.
package struct OTLPText: Sendable {
    private let resource: String

    /// - Parameter instance: tells this process from others of the same service.
    package init(version: String, instance: String) {
        resource =
            #"{"attributes":["# + Self.attribute("service.name", .text("mcp-gateway")) + ","
            + Self.attribute("service.version", .text(version)) + ","
            + Self.attribute("service.instance.id", .text(instance)) + "]}"
    }

    package func request(_ spans: [FinishedSpan]) -> [UInt8] {
        let list = spans.map(Self.span).joined(separator: ",")
        return Array(
            (#"{"resourceSpans":[{"resource":"# + resource
                + #","scopeSpans":[{"scope":{"name":"mcp-gateway"},"spans":["# + list + "]}]}]}").utf8)
    }

    private static func span(_ span: FinishedSpan) -> String {
        let context = span.context
        var out = #"{"traceId":"\#(context.traceText)","spanId":"\#(TraceContext.hex(context.spanID))""#
        if let parent = span.parent { out += #","parentSpanId":"\#(TraceContext.hex(parent))""# }
        if let state = context.state { out += #","traceState":"\#(escaped(state))""# }
        out += #","name":"\#(escaped(span.notes.name))","kind":\#(span.kind.rawValue)"#
        out += #","startTimeUnixNano":"\#(span.beganNanoseconds)","endTimeUnixNano":"\#(span.endedNanoseconds)""#
        out += #","attributes":["# + span.notes.attributes.map(attribute).joined(separator: ",") + "]"
        if let failure = span.notes.failure { out += #","status":{"code":2,"message":"\#(escaped(failure))"}"# }
        return out + "}"
    }

    private static func attribute(_ key: String, _ value: TraceSpan.Value) -> String {
        switch value {
        case .text(let text): #"{"key":"\#(key)","value":{"stringValue":"\#(escaped(text))"}}"#
        case .number(let number): #"{"key":"\#(key)","value":{"intValue":"\#(number)"}}"#
        }
    }

    /// Cut at a length that no name of ours has.
    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars.prefix(512) {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\u{0}"..<"\u{20}": out += " "
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}

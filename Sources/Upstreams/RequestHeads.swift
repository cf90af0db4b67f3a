// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The head of each request to one server, mostly written beforehand.
struct RequestHeads: Sendable {
    private let post: String
    private let get: String
    private let delete: String

    init(address: UpstreamAddress, headers: [(name: String, value: String)]) {
        var common = " HTTP/1.1\r\nhost: \(address.authority)\r\n"
        for header in headers {
            // The settings were checked; this keeps a stray line end from ever becoming a second header.
            let value = String(String.UnicodeScalarView(header.value.unicodeScalars.filter { $0.value >= 0x20 }))
            common += "\(header.name): \(value)\r\n"
        }
        post =
            "POST \(address.target)\(common)content-type: application/json\r\n"
            + "accept: application/json, text/event-stream\r\n"
        get = "GET \(address.target)\(common)accept: text/event-stream\r\ncache-control: no-store\r\n"
        delete = "DELETE \(address.target)\(common)"
    }

    /// A POST with a message for its body.
    func write(_ request: WireRequest) -> ByteBuffer {
        var out = ByteBuffer()
        out.reserveCapacity(post.utf8.count + request.body.readableBytes + 256)
        out.writeString(post)
        switch request.era {
        case .modern?:
            out.writeStaticString("mcp-protocol-version: 2026-07-28\r\nmcp-method: ")
            out.writeString(request.method)
            if let name = request.name {
                out.writeStaticString("\r\nmcp-name: ")
                out.writeString(HeaderText.encode(name))
            }
            out.writeStaticString("\r\n")
            for header in request.parameterHeaders {
                out.writeString("\(header.name): \(HeaderText.encode(header.value))\r\n")
            }
        case .legacy?, nil: writeSession(request.era, to: &out)
        }
        if let trace = request.trace {
            out.writeString("traceparent: \(trace.parent)\r\n")
            if let state = trace.state { out.writeString("tracestate: \(state)\r\n") }
        }
        out.writeStaticString("content-length: ")
        out.writeString(String(request.body.readableBytes))
        out.writeStaticString("\r\n\r\n")
        out.writeImmutableBuffer(request.body)
        return out
    }

    /// Opens the server's own stream, or goes on with one after a break.
    func stream(_ era: Era?, lastEvent: String?) -> ByteBuffer {
        var out = ByteBuffer(string: get)
        writeSession(era, to: &out)
        if let lastEvent {
            // What a server calls an event comes back in a header: only as far as a header can carry it.
            let legal = String(String.UnicodeScalarView(lastEvent.unicodeScalars.filter { $0.value >= 0x20 }))
            out.writeString("last-event-id: \(legal)\r\n")
        }
        out.writeStaticString("\r\n")
        return out
    }

    /// Ends a session.
    func end(_ era: Era) -> ByteBuffer {
        var out = ByteBuffer(string: delete)
        writeSession(era, to: &out)
        out.writeStaticString("\r\n")
        return out
    }

    private func writeSession(_ era: Era?, to out: inout ByteBuffer) {
        guard case .legacy(let revision, let session)? = era else { return }
        if let session { out.writeString("mcp-session-id: \(session)\r\n") }
        if revision >= .v2025_06_18 { out.writeString("mcp-protocol-version: \(revision.name)\r\n") }
    }
}

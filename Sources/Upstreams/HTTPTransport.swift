// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import NIOSSL

/// Streamable HTTP towards one upstream: a pool of kept-alive connections on each event loop, so that a call's client
/// connection and its upstream connection live on the same thread.
final class HTTPTransport: Transport {
    let kind = "http"
    private let pools: [ObjectIdentifier: HTTPConnectionPool]
    private let heads: RequestHeads

    init(
        url: String, headers: [(name: String, value: String)], answerBytesMax: Int, loops: [any EventLoop],
        time: any TimeSource
    ) throws(UpstreamSettingsError) {
        let address = try UpstreamAddress(url)
        heads = RequestHeads(address: address, headers: headers)
        var tls: NIOSSLContext?
        if address.isSecure {
            do {
                tls = try NIOSSLContext(configuration: .makeClientConfiguration())
            } catch {
                throw UpstreamSettingsError(words: "TLS cannot be set up: \(error)")
            }
        }
        let context = tls
        pools = Dictionary(
            uniqueKeysWithValues: loops.map { loop in
                let pool = HTTPConnectionPool(
                    address: address, tls: context, limits: WireLimits(bytesMax: answerBytesMax), loop: loop, time: time
                )
                return (ObjectIdentifier(loop), pool)
            })
    }

    func exchange(
        _ request: WireRequest, on loop: any EventLoop, deadline: Deadline
    ) async throws(CallFailure) -> WireAnswer {
        guard let pool = pools[ObjectIdentifier(loop)] else {
            preconditionFailure("a call runs on a loop that is not one of the gateway's")
        }
        let bytes = heads.write(request)
        let connection = try await pool.take(deadline: deadline)
        do throws(CallFailure) {
            return try await connection.exchange(bytes, id: request.id, deadline: deadline)
        } catch {
            // Leaving the stream tells a server of the stateless era; one of the other era has to be told in words.
            if let id = request.id, error == .cancelled || error.isTimeout, case .legacy = request.era {
                cancel(id, request, pool)
            }
            throw error
        }
    }

    private func cancel(_ id: UInt64, _ request: WireRequest, _ pool: HTTPConnectionPool) {
        let body = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
        let notice = WireRequest(
            id: nil, method: "notifications/cancelled", body: ByteBuffer(string: body), era: request.era)
        pool.sendAside(heads.write(notice))
    }

    func notify(_ request: WireRequest, on loop: any EventLoop, deadline: Deadline) async {
        guard let pool = pools[ObjectIdentifier(loop)] else { return }
        let bytes = heads.write(request)
        do throws(CallFailure) {
            let connection = try await pool.take(deadline: deadline)
            _ = try await connection.exchange(bytes, id: nil, deadline: deadline)
        } catch {
            // By its nature nobody learns whether a notification arrived; the next request will show what is wrong.
        }
    }

    func open() async throws(TransportError) {}

    func close() async {
        for pool in pools.values { await pool.close() }
    }
}

extension CallFailure {
    var isTimeout: Bool {
        if case .timedOut = self { return true }
        return false
    }
}

/// The head of each request, mostly written beforehand.
struct RequestHeads: Sendable {
    private let opening: String

    init(address: UpstreamAddress, headers: [(name: String, value: String)]) {
        var text = "POST \(address.target) HTTP/1.1\r\nhost: \(address.authority)\r\n"
        text += "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        for header in headers {
            // The settings were checked; this keeps a stray line end from ever becoming a second header.
            let value = String(String.UnicodeScalarView(header.value.unicodeScalars.filter { $0.value >= 0x20 }))
            text += "\(header.name): \(value)\r\n"
        }
        opening = text
    }

    func write(_ request: WireRequest) -> ByteBuffer {
        var out = ByteBuffer()
        out.reserveCapacity(opening.utf8.count + request.body.readableBytes + 256)
        out.writeString(opening)
        switch request.era {
        case .modern?:
            out.writeStaticString("mcp-protocol-version: 2026-07-28\r\nmcp-method: ")
            out.writeString(request.method)
            if let name = request.name {
                out.writeStaticString("\r\nmcp-name: ")
                out.writeString(HeaderText.encode(name))
            }
            out.writeStaticString("\r\n")
        case .legacy(let revision, let session)?:
            if let session { out.writeString("mcp-session-id: \(session)\r\n") }
            if revision >= .v2025_06_18 { out.writeString("mcp-protocol-version: \(revision.name)\r\n") }
        case nil: break
        }
        out.writeStaticString("content-length: ")
        out.writeString(String(request.body.readableBytes))
        out.writeStaticString("\r\n\r\n")
        out.writeImmutableBuffer(request.body)
        return out
    }
}

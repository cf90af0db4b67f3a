// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore

@testable import MCPFront

/// A service whose answers a test plays. Refusals and the comings and goings of sessions are noted.
final class PlayedService: MCPService {
    typealias Answer = @Sendable (InboundMessage) async -> String?

    let seen = Collected<InboundMessage>()
    let begun = Collected<SessionKey>()
    let gone = Collected<SessionKey>()
    private let answer: Answer

    /// - Parameter answer: gives the JSON text of the result, or nil to answer nothing.
    init(answer: @escaping Answer = { _ in "{}" }) { self.answer = answer }

    func handle(_ inbound: InboundMessage) async -> Reply {
        seen.add(inbound)
        guard let id = inbound.idText, let result = await answer(inbound) else { return .accepted }
        return .response(ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"result":\#(result)}"#), .ok)
    }

    func refuse(_ refusal: ProtocolRefusal) -> Reply {
        let id = refusal.idText.map { String(decoding: $0, as: UTF8.self) } ?? "null"
        let error = #"{"code":\#(refusal.code),"message":\#(JSONText.quoted(refusal.message))}"#
        return .response(ByteBuffer(string: #"{"jsonrpc":"2.0","id":\#(id),"error":\#(error)}"#), refusal.status)
    }

    func began(_ session: any ClientSession) { begun.add(session.key) }
    func ended(_ session: SessionKey) { gone.add(session) }

    var methods: [String] { seen.all.map(\.message.method.name) }
}

extension InboundMessage {
    var idText: String? {
        message.id.flatMap { bytes.getString(at: bytes.readerIndex + $0.lowerBound, length: $0.count) }
    }

    /// A member of `params` that is a text.
    func text(_ key: StaticString) -> String? {
        let span = bytes.readableBytesUInt8Span
        guard let member = message.member(key, in: span), member.kind == .string else { return nil }
        return JSONText.string(span, value: member.value)
    }
}

extension ClientStream {
    func send(_ text: String, isVital: Bool = true) { send(ByteBuffer(string: text), isVital: isVital) }
}

/// One event of a stream, as far as it has come.
struct SeenEvent: Equatable, CustomStringConvertible {
    var id: String?
    var data: String?
    var retry: String?

    var description: String { "\(id ?? "-") \(data ?? "-")\(retry.map { " retry \($0)" } ?? "")" }

    /// Every whole event in what a client has received. Sizes of chunks stand on lines of their own, and are passed
    /// over.
    static func all(in text: String) -> [SeenEvent] {
        var events: [SeenEvent] = []
        var event = SeenEvent()
        var isEmpty = true
        for line in text.split(separator: "\r\n", omittingEmptySubsequences: false) {
            if line.isEmpty {
                if !isEmpty { events.append(event) }
                event = SeenEvent()
                isEmpty = true
                continue
            }
            for (name, path) in [("id: ", \SeenEvent.id), ("data: ", \.data), ("retry: ", \.retry)]
            where line.hasPrefix(name) {
                event[keyPath: path] = String(line.dropFirst(name.count))
                isEmpty = false
            }
        }
        return events
    }
}

extension ScriptedClient {
    /// The events of the stream that is open on this connection.
    var events: [SeenEvent] { SeenEvent.all(in: received) }

    /// Waits until so many events have come.
    func events(_ count: Int) async throws -> [SeenEvent] {
        try await wait(for: "\(count) events; so far: \(received.suffix(400))") { events.count >= count }
        return events
    }
}

extension RecordedAnswer {
    var events: [SeenEvent] { SeenEvent.all(in: text) }
}

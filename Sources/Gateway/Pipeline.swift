// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Logging
internal import MCPWire
internal import NIOCore
package import Telemetry

/// Settings of the pipeline.
package struct PipelineSettings: Sendable {
    /// Calls that may run at once.
    package var inFlightMax: Int
    /// The longest a call may take from admission to reply; a tool's own limit may be shorter.
    package var timeout: Duration
    /// A call that takes longer gets a line in the log.
    package var slowCall: Duration

    package init(inFlightMax: Int, timeout: Duration, slowCall: Duration) {
        self.inFlightMax = inFlightMax
        self.timeout = timeout
        self.slowCall = slowCall
    }
}

/// The one way of every message: admission → route → dispatch → reply.
package final class Pipeline: MCPService {
    private let catalogue: Catalogue
    private let identity: ServerIdentity
    private let admission: Admission
    private let dispatcher: Dispatcher
    private let replies: ReplyBuilder
    private let recorder: CallRecorder
    private let settling: Settling

    package init(
        settings: PipelineSettings, catalogue: Catalogue, settling: Settling = Settling(expected: 0),
        identity: ServerIdentity, journal: any Journal,
        time: any TimeSource, metrics: MetricsRegistry, logs: LogFiles
    ) {
        self.catalogue = catalogue
        self.identity = identity
        self.settling = settling
        admission = Admission(inFlightMax: settings.inFlightMax, timeout: settings.timeout)
        metrics.gauge(.callsInFlight) { [admission] in Double(admission.running) }
        dispatcher = Dispatcher()
        replies = ReplyBuilder(identity: identity)
        recorder = CallRecorder(
            journal: journal, time: time, metrics: metrics, log: logs.logger(component: LogComponent.gateway),
            slowCall: settings.slowCall)
    }

    /// Calls that are being worked on now.
    package var callsInFlight: Int { admission.running }

    package func refuse(_ refusal: ProtocolRefusal) -> Reply { replies.refusal(refusal) }

    package func handle(_ inbound: InboundMessage) async -> Reply {
        let dialect = replies.dialect(of: inbound.revision)
        guard inbound.message.kind == .request else { return .accepted }
        guard dialect.offers(inbound.message.method) else {
            recorder.refused(inbound)
            return replies.error(
                -32601,
                "There is no method of this name in revision \(inbound.revision.name) that this gateway offers.",
                to: inbound, status: dialect.unknownMethodStatus)
        }
        switch inbound.message.method {
        case .toolsCall: return await call(inbound, dialect)
        case .toolsList: return await list(inbound)
        case .discover: return answered(inbound, replies.result(members: discovery, to: inbound, dialect))
        case .initialize:
            return answered(inbound, replies.result(members: greeting(inbound.revision), to: inbound, dialect))
        case .ping: return answered(inbound, replies.empty(to: inbound))
        case .initialized, .cancelled, .other:
            return refused(inbound, -32601, "\(inbound.message.method.knownName) is a notification and takes no id.")
        }
    }

    // MARK: tools/call

    private func call(_ inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        // May it enter?
        guard let permit = admission.admit(at: inbound.arrivedAt) else { return overloaded(inbound, dialect) }
        // Whom is it for?
        let bytes = inbound.bytes.readableBytesUInt8Span
        guard let name = inbound.message.member("name", in: bytes), name.kind == .string else {
            return badCall(inbound, "\"params.name\" must name the tool to call")
        }
        if let arguments = inbound.message.member("arguments", in: bytes), arguments.kind != .object {
            return badCall(inbound, "\"params.arguments\" must be an object")
        }
        guard let destination = await resolve(JSONText.string(bytes, value: name.value)) else {
            return badCall(inbound, "There is no tool of this name; tools/list tells which there are")
        }
        // Go.
        let call = ToolCall(
            tool: destination.tool, bytes: inbound.bytes, message: inbound.message, caller: inbound.caller,
            requestID: inbound.requestID, deadline: permit.deadline, loop: inbound.loop)
        switch await dispatcher.send(call, to: destination) {
        case .success(let reply):
            recorder.finished(inbound, destination, reply)
            return replies.reply(reply, to: inbound, dialect)
        case .failure(let failure):
            recorder.failed(inbound, destination, failure)
            return replies.failure(failure, of: destination, to: inbound, dialect)
        }
    }

    /// From one snapshot. Just after a start a name that is not known may be about to be.
    private func resolve(_ name: String) async -> Destination? {
        if let found = catalogue.current.routes.resolve(name) { return found }
        guard !settling.isOver else { return nil }
        await settling.wait()
        return catalogue.current.routes.resolve(name)
    }

    private func badCall(_ inbound: InboundMessage, _ words: String) -> Reply { refused(inbound, -32602, words) }

    private func refused(_ inbound: InboundMessage, _ code: Int, _ words: String) -> Reply {
        recorder.refused(inbound)
        return replies.error(code, words, to: inbound)
    }

    private func overloaded(_ inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        recorder.shed(inbound)
        let words =
            "This gateway already runs \(admission.limit) calls at once (limits.max_in_flight). Try again in 1 s."
        // A legacy client would end its whole session at a 503.
        guard inbound.revision.isModern else { return replies.toolError(words, to: inbound, dialect) }
        return replies.error(-32603, words, to: inbound, status: .overloaded(retryAfter: 1))
    }

    // MARK: What the gateway answers itself

    private func answered(_ inbound: InboundMessage, _ reply: Reply) -> Reply {
        recorder.answered(inbound)
        return reply
    }

    private func list(_ inbound: InboundMessage) async -> Reply {
        if !settling.isOver { await settling.wait() }
        let bytes = inbound.bytes.readableBytesUInt8Span
        if let cursor = inbound.message.member("cursor", in: bytes), cursor.kind != .null {
            return refused(inbound, -32602, "This cursor is not one of ours: the list has a single page.")
        }
        let list = catalogue.current.toolLists[inbound.revision] ?? Array("{}".utf8)
        return answered(inbound, replies.result(list, to: inbound))
    }

    private var discovery: String {
        let versions = Revision.allCases.reversed().map { "\"\($0.name)\"" }.joined(separator: ",")
        return #""supportedVersions":[\#(versions)],"capabilities":{"tools":{}},"#
            + #""instructions":\#(JSONText.quoted(identity.instructions)),"ttlMs":60000,"cacheScope":"private""#
    }

    private func greeting(_ revision: Revision) -> String {
        #""protocolVersion":"\#(revision.name)","capabilities":{"tools":{}},"serverInfo":\#(identity.json.text),"#
            + #""instructions":\#(JSONText.quoted(identity.instructions))"#
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// Answers what clients ask about stored calls: as tasks of 2026-07-28, and by two tools for clients without tasks.
final class QueueDesk: Sendable {
    static let statusTool = "gateway__queue_status"
    static let resultTool = "gateway__queue_result"
    /// No owner may use names that begin so.
    static let reservedPrefix = "gateway__"

    let queue: any CallQueue
    let shape: StoredShape
    let replies: ReplyBuilder
    let catalogue: Catalogue
    let time: any TimeSource
    private let isStopping = Atomic(false)

    init(
        queue: any CallQueue, shape: StoredShape, replies: ReplyBuilder, catalogue: Catalogue, time: any TimeSource
    ) {
        self.queue = queue
        self.shape = shape
        self.replies = replies
        self.catalogue = catalogue
        self.time = time
    }

    /// Ends waits for stored calls: the gateway is stopping.
    func stop() { isStopping.store(true, ordering: .relaxed) }

    // MARK: The two tools

    static let items: [ListedItem] = [
        ListedItem(
            exposed: resultTool,
            definition: [
                "title": "Result of a stored call",
                "description":
                    """
                Gives the result of a call that was answered with NOT DONE YET, as the tool itself would have \
                given it, once it is there.
                """,
                "inputSchema": schema, "annotations": ["readOnlyHint": true],
            ], owner: nil),
        ListedItem(
            exposed: statusTool,
            definition: [
                "title": "State of a stored call",
                "description": "Tells how a call is that was answered with NOT DONE YET: waiting, done, or given up.",
                "inputSchema": schema, "annotations": ["readOnlyHint": true],
            ], owner: nil),
    ]

    private static let schema: JSONValue = [
        "type": "object",
        "properties": [
            "handle": ["type": "string", "description": "What the answer NOT DONE YET named, beginning with call-."]
        ],
        "required": ["handle"],
    ]

    static func isTool(_ name: String) -> Bool { name == statusTool || name == resultTool }

    func answer(_ tool: String, _ inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        let bytes = inbound.bytes.readableBytesUInt8Span
        let arguments = inbound.message.member("arguments", in: bytes).flatMap {
            try? JSONValue.parse(bytes.extracting($0.value))
        }
        guard let handle = arguments?["handle"]?.stringValue else {
            return replies.toolError("\"handle\" must be what the answer NOT DONE YET named.", to: inbound, dialect)
        }
        let asked: StoredOutcome?
        do throws(CannotLook) {
            asked = StoredCallWriting.isHandle(handle) ? try await find(handle, inbound) : nil
        } catch {
            return replies.toolError(Self.words(error), to: inbound, dialect)
        }
        guard let found = asked else {
            return replies.toolError(
                "There is no stored call \(handle.prefix(80)); it may have been over for too long.", to: inbound,
                dialect)
        }
        if tool == Self.statusTool {
            return replies.result(
                members: shape.statusMembers(found.call), meta: StoredShape.meta(found.call), to: inbound, dialect)
        }
        guard found.call.status.isOver else { return notYet(found.call, inbound, dialect) }
        return outcome(found, to: inbound, dialect)
    }

    private func find(_ handle: String, _ inbound: InboundMessage) async throws(CannotLook) -> StoredOutcome? {
        try await queue.find(handle: handle, caller: inbound.caller.name)
    }

    private static func words(_ trouble: CannotLook) -> String {
        "What became of this call cannot be looked up now (\(trouble.words)); it is not lost by that. "
            + "Ask again in a few seconds, and do not make the call again."
    }

    private func notYet(_ call: StoredCall, _ inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        replies.result(members: shape.notDoneYet(call), meta: StoredShape.meta(call), to: inbound, dialect)
    }

    /// What a client gets at once for a call that was stored.
    func stored(_ call: StoredCall, to inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        if inbound.capabilities.contains(.tasks), inbound.revision.isModern {
            return replies.task(members: shape.taskMembers(call), to: inbound)
        }
        if inbound.wantsTask {
            return replies.result(members: #""task":{\#(shape.legacyTaskMembers(call))}"#, to: inbound, dialect)
        }
        guard call.status.isOver, let found = await queue.find(id: call.id) else {
            return notYet(call, inbound, dialect)
        }
        return outcome(found, to: inbound, dialect)
    }

    /// The end of a stored call, as if it had been made just now.
    private func outcome(_ found: StoredOutcome, to inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        guard let answer = found.answer, let payload = Payload(answer.bytes),
            let destination = destination(of: found.call)
        else {
            return replies.result(
                members: shape.endedMembers(found.call), meta: StoredShape.meta(found.call), to: inbound, dialect)
        }
        return replies.reply(
            answer.isResult ? .result(payload) : .protocolError(payload), of: destination, to: inbound, dialect
        ) { $0 }
    }

    /// For the words and URIs of its owner; the tool itself may be gone by now.
    private func destination(of call: StoredCall) -> Destination? {
        let snapshot = catalogue.current
        if let found = snapshot.routes.tool(call.tool), found.backend.name == call.upstream { return found }
        return catalogue.owner(call.upstream)
            .map { Destination(.tool, call.tool, target: call.target, owner: $0) }
    }

    // MARK: Tasks

    func task(_ handle: String, _ inbound: InboundMessage, _ dialect: any Dialect) async -> Reply {
        let asked: StoredOutcome?
        do throws(CannotLook) { asked = try await find(handle, inbound) } catch {
            return replies.error(-32603, Self.words(error), to: inbound)
        }
        guard let found = asked else {
            return replies.error(-32602, "There is no task of this id", to: inbound)
        }
        guard inbound.revision.isModern else { return await legacyTask(found, inbound, dialect) }
        switch inbound.message.method {
        case .tasksCancel:
            if let refusal = cannotCancel(found, inbound) { return refusal }
            if !found.call.status.isOver {
                _ = await queue.cancel(
                    id: found.call.id, words: "cancelled by its client", now: time.wallMilliseconds())
            }
            return replies.result(members: "", to: inbound, dialect)
        // A stored call asks nothing.
        case .tasksUpdate: return replies.result(members: "", to: inbound, dialect)
        default:
            return replies.result(members: shape.taskMembers(found.call, outcome: end(found)), to: inbound, dialect)
        }
    }

    private func cannotCancel(_ found: StoredOutcome, _ inbound: InboundMessage) -> Reply? {
        guard found.call.isElsewhere, !found.call.status.isOver else { return nil }
        return replies.error(
            -32603, "The task is with another gateway of this storage, and cannot be cancelled here.", to: inbound)
    }

    // MARK: Tasks of 2025-11-25

    private static let waitMax = Duration.seconds(600)

    private func legacyTask(
        _ found: StoredOutcome, _ inbound: InboundMessage, _ dialect: any Dialect
    ) async -> Reply {
        switch inbound.message.method {
        case .tasksCancel:
            if let refusal = cannotCancel(found, inbound) { return refusal }
            let now = time.wallMilliseconds()
            guard
                case .done(let call) = await queue.cancel(id: found.call.id, words: "cancelled by its client", now: now)
            else {
                return replies.error(-32602, "The task is on its way or over, and cannot be cancelled.", to: inbound)
            }
            return replies.result(members: shape.legacyTaskMembers(call), to: inbound, dialect)
        case .tasksResult:
            guard let ended = await end(of: found, inbound) else {
                return replies.error(-32603, "The task is not over yet; ask again.", to: inbound)
            }
            return legacyResult(ended, inbound, dialect)
        default:
            let hasFailed = found.answer.flatMap { Payload($0.bytes) }?.saysError ?? false
            return replies.result(
                members: shape.legacyTaskMembers(found.call, hasFailed: hasFailed), to: inbound, dialect)
        }
    }

    /// Waits until the call is over; nil when that takes too long, or the client has left.
    private func end(of found: StoredOutcome, _ inbound: InboundMessage) async -> StoredOutcome? {
        var found = found
        var pause = Duration.milliseconds(50)
        let ends = Deadline(time.now() + Self.waitMax)
        while !found.call.status.isOver {
            guard !Task.isCancelled, !isStopping.load(ordering: .relaxed), !ends.hasPassed(at: time.now()) else {
                return nil
            }
            await Pause.wait(pause, on: inbound.loop)
            pause = min(pause * 2, .seconds(1))
            do throws(CannotLook) {
                guard let next = try await find(found.call.handle, inbound) else { return nil }
                found = next
            } catch {
                // Perhaps the next time.
                continue
            }
        }
        return found
    }

    /// What the call itself would have been answered with, and whose it is.
    private func legacyResult(_ found: StoredOutcome, _ inbound: InboundMessage, _ dialect: any Dialect) -> Reply {
        let task = #""io.modelcontextprotocol/related-task":{"taskId":\#(JSONText.quoted(found.call.handle))}"#
        guard case .result(let result)? = found.answer, let payload = Payload(result),
            let destination = destination(of: found.call)
        else {
            if case .protocolError? = found.answer { return outcome(found, to: inbound, dialect) }
            return replies.result(members: shape.endedMembers(found.call), meta: task, to: inbound, dialect)
        }
        var written = ByteBuffer()
        dialect.write(payload, of: destination, as: "complete", to: &written)
        let members = (try? JSONValue.parse(written.readableBytesUInt8Span, limits: WireLimits(bytesMax: .max)))?
            .without("_meta").text.dropFirst().dropLast()
        return replies.result(members: String(members ?? ""), meta: task, to: inbound, dialect)
    }

    /// `"result":…` or `"error":…` of a task that is over.
    private func end(_ found: StoredOutcome) -> String {
        guard found.call.status.isOver else { return "" }
        if case .protocolError(let error)? = found.answer {
            return #""error":\#(String(decoding: error, as: UTF8.self))"#
        }
        if found.call.status == .completed, let answer = found.answer, let payload = Payload(answer.bytes),
            let destination = destination(of: found.call)
        {
            var out = ByteBuffer()
            replies.dialect(of: .modern).write(payload, of: destination, as: "complete", to: &out)
            return #""result":\#(String(buffer: out))"#
        }
        return StoredShape.status(found.call) == "failed" ? #""error":\#(StoredShape.error(found.call))"# : ""
    }
}

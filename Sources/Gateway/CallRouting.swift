// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// Whom a call is for: an owner, the gateway itself, or nobody. Pure, from one snapshot.
enum CallRouting {
    enum Way {
        case destination(Destination, InboundMessage)
        /// The gateway's own tools.
        case answered(members: String)
        /// One of those that ask about stored calls.
        case queueTool(String)
        case storedTask(handle: String)
        case refused(Int, String, data: String? = nil, status: ReplyStatus = .ok)
    }

    static func look(_ inbound: InboundMessage, _ snapshot: Snapshot, _ states: StateKeeper) -> Way {
        let bytes = inbound.bytes.readableBytesUInt8Span
        func text(_ key: StaticString) -> String? {
            guard let member = inbound.message.member(key, in: bytes), member.kind == .string else { return nil }
            return JSONText.string(bytes, value: member.value)
        }
        if let arguments = inbound.message.member("arguments", in: bytes), arguments.kind != .object {
            return .refused(-32602, "\"params.arguments\" must be an object")
        }
        switch inbound.message.method {
        case .toolsCall:
            guard let name = text("name") else { return .refused(-32602, "\"params.name\" must name the tool to call") }
            // The two of compact mode first: no upstream may take their names.
            if QueueDesk.isTool(name) { return .queueTool(name) }
            if snapshot.index != nil, let way = compact(name, inbound, snapshot) { return way }
            if let found = snapshot.routes.tool(name) { return .destination(found, inbound) }
            if snapshot.disabled[name] != nil {
                return .refused(-32602, "This tool is taken out of service by an operator; try again later")
            }
            return .refused(-32602, "There is no tool of this name; tools/list tells which there are")
        case .promptsGet:
            guard let name = text("name") else { return .refused(-32602, "\"params.name\" must name the prompt") }
            if let found = snapshot.routes.prompt(name) { return .destination(found, inbound) }
            return .refused(-32602, "There is no prompt of this name; prompts/list tells which there are")
        case .resourcesRead:
            guard let uri = text("uri") else { return .refused(-32602, "\"params.uri\" must say what to read") }
            if let found = snapshot.routes.resource(uri) { return .destination(found, inbound) }
            return .refused(
                inbound.revision.isModern ? -32602 : -32002, "There is nothing of this URI behind this gateway",
                data: #"{"uri":\#(JSONText.quoted(uri))}"#)
        case .complete:
            guard let member = inbound.message.member("ref", in: bytes),
                let reference = try? JSONValue.parse(bytes.extracting(member.value))
            else { return .refused(-32602, "\"params.ref\" must say what is completed") }
            guard let found = snapshot.routes.completion(reference) else {
                return .refused(-32602, "There is no prompt and no resource that \"params.ref\" names")
            }
            guard found.backend.offers().completes else {
                return .answered(members: #""completion":{"values":[],"total":0,"hasMore":false}"#)
            }
            return .destination(found, inbound)
        default: return task(inbound, text("taskId"), snapshot, states)
        }
    }

    private static func compact(_ name: String, _ inbound: InboundMessage, _ snapshot: Snapshot) -> Way? {
        let bytes = inbound.bytes.readableBytesUInt8Span
        switch name {
        case CompactTools.search:
            let arguments = inbound.message.member("arguments", in: bytes).flatMap {
                try? JSONValue.parse(bytes.extracting($0.value))
            }
            switch CompactTools.found(arguments, in: snapshot) {
            case .success(let members): return .answered(members: members)
            case .failure(let error): return .answered(members: ReplyBuilder.toolErrorMembers(error.words))
            }
        case CompactTools.call:
            guard let inner = CompactTools.inner(inbound),
                let member = inner.message.member("name", in: inner.bytes.readableBytesUInt8Span),
                let found = snapshot.routes.tool(
                    JSONText.string(inner.bytes.readableBytesUInt8Span, value: member.value))
            else {
                return .answered(
                    members: ReplyBuilder.toolErrorMembers(
                        "\"name\" must be the name of a tool as search_tools gives it."))
            }
            return .destination(found, inner)
        default: return nil
        }
    }

    private static func task(
        _ inbound: InboundMessage, _ handle: String?, _ snapshot: Snapshot, _ states: StateKeeper
    ) -> Way {
        guard inbound.capabilities.contains(.tasks) || !inbound.revision.isModern else {
            return .refused(
                -32021, "This method belongs to an extension that the request does not declare.",
                data: #"{"requiredCapabilities":{"extensions":{"\#(ClientCapabilities.tasksExtension)":{}}}}"#,
                status: .badEnvelope)
        }
        if let handle, StoredCallWriting.isHandle(handle) { return .storedTask(handle: handle) }
        guard let handle, let (owner, task) = states.task(handle, caller: inbound.caller),
            let found = snapshot.owners.first(where: { $0.backend.name == owner })
        else { return .refused(-32602, "There is no task of this id") }
        let operation: Operation
        switch inbound.message.method {
        case .tasksUpdate: operation = .taskUpdate
        case .tasksCancel: operation = .taskCancel
        default: operation = .taskGet
        }
        return .destination(Destination(operation, handle, target: task, owner: found), inbound)
    }
}

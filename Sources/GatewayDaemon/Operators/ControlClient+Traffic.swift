// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// Orders and questions about breakers, limits, tools, and what was changed by hand.
extension ControlClient {
    /// The body of an order that undoes itself after some time.
    static func lasting(
        _ lasts: String?, _ members: [(key: String, value: JSONValue)] = []
    ) -> JSONValue {
        .object(members + (lasts.map { [("for", .string($0))] } ?? []))
    }

    // MARK: Breakers

    package func breakerList() throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("GET", "/admin/circuit-breaker")
        return OperatorAnswer(json: text, lines: BreakerScreen.list(json))
    }

    /// - Parameters:
    ///   - upstream: nil for all.
    ///   - force: opens healthy ones too.
    package func breakerEnable(
        upstream: String?, force: Bool, lasts: String?
    ) throws(StartError) -> OperatorAnswer {
        var members = Self.member("upstream", upstream)
        if force { members.append(("force", true)) }
        return try breakers("enable", Self.lasting(lasts, members))
    }

    package func breakerDisable(upstream: String?, lasts: String?) throws(StartError) -> OperatorAnswer {
        try breakers("disable", Self.lasting(lasts, Self.member("upstream", upstream)))
    }

    private func breakers(_ what: String, _ body: JSONValue) throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("POST", "/admin/circuit-breaker/" + what, body)
        let words = [ScreenLine](Self.words(json["words"].shown))
        return OperatorAnswer(json: text, lines: words + [ScreenLine()] + BreakerScreen.list(json))
    }

    private static func member(_ name: String, _ text: String?) -> [(key: String, value: JSONValue)] {
        text.map { [(name, .string($0))] } ?? []
    }

    // MARK: Limits

    package func limitShow() throws(StartError) -> OperatorAnswer { try limit("GET") }

    package func limitSet(
        perSecond: Double, burst: Int?, lasts: String?
    ) throws(StartError) -> OperatorAnswer {
        var members: [(key: String, value: JSONValue)] = [
            ("requests_per_second", .number(RateLimit.text(perSecond)))
        ]
        if let burst { members.append(("burst", .number(String(burst)))) }
        return try limit("POST", Self.lasting(lasts, members))
    }

    package func limitClear() throws(StartError) -> OperatorAnswer { try limit("DELETE") }

    private func limit(_ verb: String, _ body: JSONValue? = nil) throws(StartError) -> OperatorAnswer {
        let (json, text) = try order(verb, "/admin/rate-limit", body)
        var lines = [ScreenLine](Self.words(json["words"].shown))
        if let order = json["override"], order != .null {
            let file = json["file"].flatMap { file -> String? in
                file["requests_per_second"].map { "\(Optional($0).shown)/s, burst \(file["burst"].shown)" }
            }
            lines.append(ScreenLine("the file says: \(file ?? "no limit"); mcp-gateway limit clear returns to it"))
            lines += [ScreenLine()] + OverrideScreen.table([order])
        }
        return OperatorAnswer(json: text, lines: lines)
    }

    // MARK: Tools

    package func toolsList() throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("GET", "/admin/tools")
        return OperatorAnswer(json: text, lines: ToolScreen.list(json))
    }

    /// What is known of one tool, and what would become of a call of it.
    package func toolsInspect(_ name: String) throws(StartError) -> OperatorAnswer {
        let explanation = try explanation(name, caller: nil).json
        let (json, _) = try order("GET", "/admin/tools")
        let line = json["tools"]?.arrayValue?.first { $0["name"].shown.utf8.elementsEqual(name.utf8) }
        let isThere = line != nil
        return OperatorAnswer(
            json: JSONValue.object([("tool", line ?? .null), ("explanation", explanation)]).text,
            lines: ToolScreen.one(line, explanation), isGood: isThere,
            complaints: isThere ? [] : ["there is no tool of this name; mcp-gateway tools list shows those there are"])
    }

    package func toolsDisable(_ name: String, lasts: String?) throws(StartError) -> OperatorAnswer {
        try said("POST", "/admin/tools/\(Self.escaped(name))/disable", Self.lasting(lasts))
    }

    package func toolsEnable(_ name: String) throws(StartError) -> OperatorAnswer {
        try said("POST", "/admin/tools/\(Self.escaped(name))/enable")
    }

    /// What would become of a call.
    ///
    /// - Parameter caller: whose limits count; nil for nobody's in particular.
    package func explain(_ tool: String, caller: String?) throws(StartError) -> OperatorAnswer {
        let answer = try explanation(tool, caller: caller)
        let isAllowed = answer.json["verdict"]?.stringValue == "allowed"
        return OperatorAnswer(
            json: answer.text, lines: ToolScreen.facts(answer.json.objectValue ?? []), isGood: isAllowed,
            complaints: isAllowed ? [] : ["the call would be refused"])
    }

    private func explanation(_ tool: String, caller: String?) throws(StartError) -> Answer {
        // Such texts stand in the query as they are.
        guard Self.isPlain(tool) else { throw StartError("a tool's name is letters, digits, - and _") }
        if let caller, !Self.isPlain(caller) {
            throw StartError("a caller's name is letters, digits, ., _, @ and -")
        }
        let answer = try answer("GET", "/admin/explain?tool=\(tool)" + (caller.map { "&as=\($0)" } ?? ""))
        guard answer.status == 200 else { throw StartError(answer.refusal) }
        return answer
    }

    private static func isPlain(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                SettingsUnits.isNameByte($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "@")
            }
    }

    // MARK: What was changed by hand

    /// The kinds there are.
    package static let overrideKinds = Override.Kind.allCases.map(\.rawValue)

    package func overridesList() throws(StartError) -> OperatorAnswer {
        let (json, text) = try order("GET", "/admin/overrides")
        return OperatorAnswer(json: text, lines: OverrideScreen.list(json))
    }

    /// - Parameters:
    ///   - what: one of `overrideKinds`; nil for everything.
    ///   - subject: only that of this upstream or tool.
    package func overridesUndo(_ what: String?, subject: String?) throws(StartError) -> OperatorAnswer {
        let query = [("what", what), ("subject", subject)].compactMap { name, value in
            value.map { name + "=" + Self.escaped($0) }
        }
        let path = "/admin/overrides" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        return try said("DELETE", path)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import HTTPListener
internal import MCPWire

/// The description of the admin routes in OpenAPI 3.1, made from the table that routes them.
enum OpenAPI {
    /// What any call may answer besides what it is for.
    private static let always: [HTTPStatus] = [.badRequest, .unauthorized, .forbidden, .contentTooLarge, .unavailable]

    static func document(of calls: [AdminCall], version: String) -> JSONValue {
        var paths: [(key: String, value: JSONValue)] = []
        for call in calls where !paths.contains(where: { $0.key == call.path }) {
            let here = calls.filter { $0.path == call.path }
            paths.append((call.path, .object(here.map { (verb(of: $0), operation($0)) })))
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "mcp-gateway admin API", "version": .string(version),
                "description": .string(
                    "Orders and questions of operators. Bodies are JSON whatever Content-Type says. On the gateway's "
                        + "machine the users in admin.local need no token."),
            ],
            "paths": .object(paths),
            "components": [
                "schemas": ["Answer": answer, "Refusal": refusal],
                "securitySchemes": ["token": ["type": "http", "scheme": "bearer"]],
            ],
            "security": [.object([]), ["token": []]],
        ]
    }

    private static func verb(of call: AdminCall) -> String { call.verb.label.lowercased() }

    private static func operation(_ call: AdminCall) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("operationId", .string(call.name)), ("summary", .string(call.about)),
        ]
        var parameters = call.query.map(parameter)
        if let open = call.path.firstIndex(of: "{"), let close = call.path.firstIndex(of: "}") {
            let name = String(call.path[call.path.index(after: open)..<close])
            let schema: JSONValue =
                call.isNumbered
                ? ["type": "integer", "minimum": .number("1"), "maximum": .number(String(Int64.max))]
                : ["type": "string", "minLength": .number("1")]
            parameters.append(["name": .string(name), "in": "path", "required": true, "schema": schema])
        }
        if !parameters.isEmpty { members.append(("parameters", .array(parameters))) }
        if call.verb != .get { members.append(("requestBody", body(call))) }
        var answers: [(key: String, value: JSONValue)] = [
            ("200", response("What was done, and what is in force now.", schema: reference(answerName(call))))
        ]
        let refusals = Set(always + call.refusals).sorted { $0.rawValue < $1.rawValue }
        for status in refusals {
            answers.append(
                (String(status.rawValue), response("Why not, in words.", schema: reference("Refusal"))))
        }
        members.append(("responses", .object(answers)))
        return .object(members)
    }

    private static func answerName(_ call: AdminCall) -> String? { call.name == "openapi" ? nil : "Answer" }

    private static func reference(_ name: String?) -> JSONValue {
        guard let name else { return ["type": "object"] }
        return ["$ref": .string("#/components/schemas/\(name)")]
    }

    private static func response(_ about: String, schema: JSONValue) -> JSONValue {
        ["description": .string(about), "content": ["application/json": ["schema": schema]]]
    }

    private static func parameter(_ field: AdminField) -> JSONValue {
        .object([
            ("name", .string(field.name)), ("in", "query"), ("description", .string(field.about)),
            ("schema", schema(of: field, isInQuery: true)),
        ])
    }

    private static func body(_ call: AdminCall) -> JSONValue {
        var schema: [(key: String, value: JSONValue)] = [
            ("type", "object"), ("additionalProperties", false),
            ("properties", .object(call.body.map { ($0.name, Self.schema(of: $0)) })),
        ]
        let required = call.body.filter(\.isRequired)
        if !required.isEmpty { schema.append(("required", .array(required.map { .string($0.name) }))) }
        if let (member, flag) = call.isOnlyWith {
            let (text, yes): (JSONValue, JSONValue) = (["type": "string"], ["const": true])
            let isGiven = JSONValue.object([(member, text)])
            let isSaid = JSONValue.object([(flag, yes)])
            schema.append(("if", ["required": .array([.string(member)]), "properties": isGiven]))
            schema.append(("then", ["required": .array([.string(flag)]), "properties": isSaid]))
        }
        return [
            "required": .bool(!required.isEmpty),
            "content": ["application/json": ["schema": .object(schema)]],
        ]
    }

    private static func schema(of field: AdminField, isInQuery: Bool = false) -> JSONValue {
        var members: [(key: String, value: JSONValue)]
        switch field.kind {
        // An empty parameter of a query counts as none.
        case .text: members = [("type", "string")] + (isInQuery ? [] : [("minLength", .number("1"))])
        case .form(let pattern): members = [("type", "string"), ("pattern", .string(pattern))]
        case .flag: members = [("type", "boolean")]
        case .duration: members = [("type", "string"), ("pattern", "^[0-9]{1,6}[smhd]$")]
        case .lasting: members = [("type", "string"), ("pattern", "^(?=[0-9]{1,6}[smhd]$)0*[1-9]")]
        case .number(let range):
            members = [
                ("type", "number"), ("minimum", .number(String(range.lowerBound))),
                ("maximum", .number(String(range.upperBound))),
            ]
        case .count(let range):
            members = [
                ("type", "integer"), ("minimum", .number(String(range.lowerBound))),
                ("maximum", .number(String(range.upperBound))),
            ]
        case .texts(let known):
            members = [
                ("type", "array"), ("minItems", .number("1")),
                ("items", ["type": "string", "enum": .array(known.map { .string($0) })]),
            ]
        case .choice(let known):
            let words = known + (isInQuery ? [""] : [])
            members = [("type", "string"), ("enum", .array(words.map { .string($0) }))]
        case .list(let known):
            let one = "(\(known.joined(separator: "|")))?"
            members = [("type", "string"), ("pattern", .string("^\(one)(,\(one))*$"))]
        case .path:
            members = [
                ("type", "string"), ("pattern", #"^/[^\u0000-\u001f\u007f]*[^/\u0000-\u001f\u007f]$"#),
            ]
        }
        // Null counts as left out.
        if !isInQuery, !field.isRequired, let type = members.first?.value {
            members[0].value = .array([type, "null"])
        }
        members.append(("description", .string(field.about)))
        return .object(members)
    }

    private static let answer: JSONValue = [
        "type": "object", "required": ["words"], "properties": ["words": ["type": "string"]],
    ]

    private static let refusal: JSONValue = [
        "type": "object", "required": ["error"],
        "properties": [
            "error": [
                "type": "object", "required": ["code", "message", "request_id"],
                "properties": [
                    "code": ["type": "string"], "message": ["type": "string"], "request_id": ["type": "string"],
                    "problems": ["type": "array", "items": ["type": "string"]],
                ],
            ]
        ],
    ]
}

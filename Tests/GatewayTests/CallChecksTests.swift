// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// What is looked at in a call before it goes on, and in the output of our own tools.
@Suite("Call checks") struct CallChecksTests {
    private static let schema =
        #"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"#
        + #""tenant":{"type":"integer","x-mcp-header":"Tenant-Id"},"#
        + #""deep":{"type":"object","properties":{"dry":{"type":"boolean","x-mcp-header":"Dry"}}}},"#
        + #""required":["region"]}"#

    private func destination(
        _ operation: Operation = .tool, input: String? = schema, output: String? = nil, checks: Bool = false
    ) throws -> Destination {
        let members = [
            input.map { #""inputSchema":\#($0)"# }, output.map { #""outputSchema":\#($0)"# },
        ].compactMap { $0 }
        let definition = try JSONValue.parse("{\(members.joined(separator: ","))}")
        let backend = ScriptedBackend(name: "b", tools: []) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        return Destination(
            operation, "t", target: "t", owner: Owner(backend: backend, prefix: ""),
            tool: try ToolFacts.of(definition, checksSchemas: checks))
    }

    private func inbound(_ arguments: String?, _ headers: [(String, String)]?) throws -> InboundMessage {
        let more = arguments.map { #","arguments":\#($0)"# } ?? ""
        var inbound = try InboundMessage.of(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"\#(more)}}"#, .modern)
        inbound.parameterHeaders = headers?.map { (name: $0.0, value: $0.1) }
        return inbound
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let arguments: String?
        let headers: [(String, String)]?
        /// In the refusal; nil when it fits.
        let words: String?
        var testDescription: String { name }

        init(_ name: String, _ arguments: String?, _ headers: [(String, String)]?, _ words: String? = nil) {
            (self.name, self.arguments, self.headers, self.words) = (name, arguments, headers, words)
        }
    }

    private static let region = ("mcp-param-region", "eu")

    static let headers: [Case] = [
        Case("they agree", #"{"region":"eu"}"#, [region]),
        Case("no transport with headers", #"{"region":"eu"}"#, nil),
        Case("no arguments and none needed", nil, []), Case("null needs no header", #"{"region":null}"#, []),
        Case("another kind of value needs none", #"{"region":5}"#, []),
        Case("a header nobody knows", #"{"region":"eu"}"#, [region, ("mcp-param-other", "x")]),
        Case("white space around it", #"{"region":"eu"}"#, [("mcp-param-region", " eu\t")]),
        Case("an integer in another spelling", #"{"tenant":42}"#, [("mcp-param-tenant-id", "42.0")]),
        Case("a flag deep inside", #"{"deep":{"dry":true}}"#, [("mcp-param-dry", "true")]),
        Case("base64", #"{"region":"g\u00fcnz"}"#, [("mcp-param-region", "=?base64?Z8O8bno=?=")]),
        Case("base64 of what needs none", #"{"region":"eu"}"#, [("mcp-param-region", "=?base64?ZXU=?=")]),
        Case("what only resembles base64", #"{"region":"=?base64?ZXU="}"#, [("mcp-param-region", "=?base64?ZXU=")]),
        Case("an empty text", #"{"region":""}"#, [("mcp-param-region", "=?base64??=")]),
        Case("missing", #"{"region":"eu"}"#, [], "Mcp-Param-Region is missing"),
        Case("missing though empty", #"{"region":""}"#, [], "Mcp-Param-Region is missing"),
        Case("missing deep inside", #"{"deep":{"dry":false}}"#, [], "Mcp-Param-Dry is missing"),
        Case("twice", #"{"region":"eu"}"#, [region, region], "more than once"),
        Case("another value", #"{"region":"us"}"#, [region], "Mcp-Param-Region differs"),
        Case("another case", #"{"region":"EU"}"#, [region], "differs"),
        Case("a look-alike", "{\"region\":\"K\"}", [("mcp-param-region", "=?base64?4oSq?=")], "differs"),
        Case("a header without an argument", "{}", [region], "differs"),
        Case("a header for null", #"{"region":null}"#, [region], "differs"),
        Case("a header for nothing", nil, [region], "differs"),
        Case("an integer that is another", #"{"tenant":42}"#, [("mcp-param-tenant-id", "43")], "differs"),
        Case("a flag in capital letters", #"{"deep":{"dry":true}}"#, [("mcp-param-dry", "True")], "differs"),
        Case("bad base64", #"{"region":"eu"}"#, [("mcp-param-region", "=?base64?ZXU?=")], "not valid base64"),
        Case("base64 of no text", #"{"region":"eu"}"#, [("mcp-param-region", "=?base64?/w==?=")], "not valid base64"),
    ]

    @Test("Headers that repeat arguments must say the same", arguments: headers)
    func headersAgree(_ one: Case) throws {
        let verdict = CallChecks.judge(try inbound(one.arguments, one.headers), try destination())
        guard let words = one.words else {
            #expect(verdict == .fits)
            return
        }
        guard case .badHeader(let said) = verdict else {
            Issue.record("it was taken: \(verdict)")
            return
        }
        #expect(said.contains(words), "\(said)")
    }

    @Test("Only tools have headers", arguments: [Operation.prompt, .resource, .completion, .taskGet])
    func otherOperations(_ operation: Operation) throws {
        let inbound = try inbound(#"{"region":"eu"}"#, [])
        #expect(CallChecks.judge(inbound, try destination(operation)) == .fits)
    }

    static let arguments: [(String?, String?)] = [
        (#"{"region":"eu"}"#, nil), (#"{"region":"eu","more":1}"#, nil), (nil, "region"), ("{}", "region"),
        (#"{"region":5}"#, "region"), (#"{"region":"eu","tenant":1.5}"#, "tenant"),
        (#"{"region":"eu","deep":{"dry":"x"}}"#, "dry"),
    ]

    @Test("Arguments of our own tools are checked; those of an upstream are its own affair", arguments: arguments)
    func argumentsFit(_ given: String?, _ words: String?) throws {
        let inbound = try inbound(given, nil)
        #expect(CallChecks.judge(inbound, try destination(checks: false)) == .fits)
        let verdict = CallChecks.judge(inbound, try destination(checks: true))
        guard let words else {
            #expect(verdict == .fits)
            return
        }
        guard case .badArguments(let said) = verdict else {
            Issue.record("they were taken: \(verdict)")
            return
        }
        #expect(said.contains(words), "\(said)")
    }

    @Test("What a header contradicts is refused before the schema is asked")
    func order() throws {
        let inbound = try inbound(#"{"region":5}"#, [Self.region])
        guard case .badHeader = CallChecks.judge(inbound, try destination(checks: true)) else {
            Issue.record("the header was passed over")
            return
        }
    }

    static let outputs: [(String, String?)] = [
        (#"{"content":[],"structuredContent":{"n":1}}"#, nil), (#"{"content":[]}"#, "gave none"),
        (#"{"structuredContent":{"n":"1"}}"#, "not what it promises"),
        (#"{"structuredContent":{}}"#, "not what it promises"),
        (#"{"structuredContent":null}"#, "not what it promises"), (#"{"content":[],"isError":true}"#, nil),
        (#"{"content":[],"isError":false}"#, "gave none"),
    ]

    @Test("Output of our own tools is what was promised, or an error that says why", arguments: outputs)
    func output(_ result: String, _ words: String?) throws {
        let schema = #"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#
        let payload = try Payload.of(result)
        let said = CallChecks.outputProblem(payload, try destination(input: nil, output: schema, checks: true))
        #expect((said == nil) == (words == nil), "\(said ?? "")")
        if let words { #expect(said?.contains(words) == true, "\(said ?? "")") }
        #expect(CallChecks.outputProblem(payload, try destination(input: nil, output: schema)) == nil)
        #expect(CallChecks.outputProblem(payload, try destination(input: nil, checks: true)) == nil)
    }

    @Test("Through the pipeline a bad header is an error of the envelope, bad arguments a result, bad output a failure")
    func wholeWay() async throws {
        let definition =
            #"{"name":"do","inputSchema":\#(Self.schema),"outputSchema":{"type":"object","required":["n"]}}"#
        let tool = OfferedItem(name: "do", definition: Array(definition.utf8))
        let backend = AskingBackend(name: "server", route: "wasm", asks: false, offers: Offers(tools: [tool])) {
            _ async throws(CallFailure) -> CallAnswer in
            try .of(#"{"content":[],"structuredContent":{}}"#)
        }
        let bench = try PipelineBench(backend)
        var client = PipelineBench.Client.modern()
        client.headers = []
        let message = try bench.message("tools/call", #""name":"up__do","arguments":{"region":"eu"}"#, client)
        let reply = await bench.pipeline.handle(message)
        #expect(reply.status == .badEnvelope)
        #expect(reply.json?.code == -32020)
        client.headers = nil
        let arguments = try await bench.call(client)
        #expect(arguments?["result"]?["isError"] == true)
        #expect(arguments?.words?.contains("region") == true)
        let output = try await bench.call(client, arguments: #"{"region":"eu"}"#)
        #expect(output?["result"]?["isError"] == true)
        #expect(bench.journal.calls.map(\.status) == ["refused", "refused", "failed"])
    }
}

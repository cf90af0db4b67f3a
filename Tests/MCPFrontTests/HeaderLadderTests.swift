// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import MCPFront

/// The rungs a request of the stateless era has to climb, and their order.
@Suite("Header ladder") struct HeaderLadderTests {
    /// What one request says; each part can be wrong on its own.
    struct Saying: Sendable {
        var metaVersion: String? = #""2026-07-28""#
        var metaCapabilities: String? = "{}"
        var version: [String] = ["2026-07-28"]
        var method: [String] = ["tools/call"]
        var name: [String] = ["t"]
        var bodyMethod = "tools/call"
        var bodyName: String? = #""name":"t""#

        var request: String {
            var headers = [RequestText.json, RequestText.both]
            headers += version.map { ("mcp-protocol-version", $0) }
            headers += method.map { ("Mcp-Method", $0) }
            headers += name.map { ("MCP-NAME", $0) }
            var meta: [String] = []
            if let metaVersion { meta.append(#""io.modelcontextprotocol/protocolVersion":\#(metaVersion)"#) }
            if let metaCapabilities {
                meta.append(#""io.modelcontextprotocol/clientCapabilities":\#(metaCapabilities)"#)
            }
            let params = [bodyName, #""_meta":{\#(meta.joined(separator: ","))}"#].compactMap { $0 }
            let body =
                #"{"jsonrpc":"2.0","id":"x","method":"\#(bodyMethod)","params":{\#(params.joined(separator: ","))}}"#
            return RequestText.http(headers: headers, body: body)
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// nil when the request is let through.
        var code: Int?
        var words = ""
        let change: @Sendable (inout Saying) -> Void
        var testDescription: String { name }

        init(
            _ name: String, _ code: Int? = nil, _ words: String = "",
            _ change: @escaping @Sendable (inout Saying) -> Void
        ) {
            self.name = name
            self.code = code
            self.words = words
            self.change = change
        }
    }

    static let rungs: [Case] = [
        Case("all in order") { _ in },
        Case("no version in _meta", -32602, "protocolVersion") { $0.metaVersion = nil },
        Case("a version that is no string", -32602, "protocolVersion") { $0.metaVersion = "20260728" },
        Case("no capabilities in _meta", -32602, "clientCapabilities") { $0.metaCapabilities = nil },
        Case("capabilities that are a list", -32602, "clientCapabilities") { $0.metaCapabilities = "[]" },
        Case("capabilities that are null", -32602, "clientCapabilities") { $0.metaCapabilities = "null" },
        Case("no version header", -32020, "missing") { $0.version = [] },
        Case("another version in the header", -32020, "differs") { $0.version = ["2025-11-25"] },
        Case("two version headers", -32020, "more than once") { $0.version = ["2026-07-28", "2026-07-28"] },
        Case("blanks around the version") { $0.version = [" \t2026-07-28 "] },
        Case("no method header", -32020, "Mcp-Method is missing") { $0.method = [] },
        Case("another method in the header", -32020, "Mcp-Method differs") { $0.method = ["tools/list"] },
        Case("another case of the method", -32020, "Mcp-Method differs") { $0.method = ["Tools/Call"] },
        Case("two method headers", -32020, "Mcp-Method stands more than once") {
            $0.method = ["tools/call", "tools/call"]
        },
        Case("no name header", -32020, "Mcp-Name is missing") { $0.name = [] },
        Case("another name in the header", -32020, "Mcp-Name differs") { $0.name = ["T"] },
        Case("two name headers", -32020, "Mcp-Name stands more than once") { $0.name = ["t", "t"] },
        Case("a name in base64") { $0.name = ["=?base64?dA==?="] },
        Case("another name in base64", -32020, "Mcp-Name differs") { $0.name = ["=?base64?dQ==?="] },
        Case("a name in broken base64", -32020, "not valid base64") { $0.name = ["=?base64?d?="] },
        Case("an escaped name in the body") { $0.bodyName = #""name":"\u0074""# },
        Case("no name in the body is the service's affair") {
            $0.bodyName = nil
            $0.name = []
        },
        Case("a name that is a number is the service's affair") {
            $0.bodyName = #""name":7"#
            $0.name = []
        },
        Case("a name for a method that has none") {
            $0.bodyMethod = "tools/list"
            $0.method = ["tools/list"]
            $0.name = ["whatever"]
        },
        Case("a resource is named by its uri", -32020, "Mcp-Name differs") {
            $0.bodyMethod = "resources/read"
            $0.method = ["resources/read"]
            $0.bodyName = #""uri":"file:///a""#
        },
        Case("a version nobody knows", -32022, "not supported") {
            $0.metaVersion = #""2031-01-01""#
            $0.version = ["2031-01-01"]
        },
        Case("an old version in the new way", -32022, "not supported") {
            $0.metaVersion = #""2025-11-25""#
            $0.version = ["2025-11-25"]
        },
    ]

    @Test("Each rung refuses with its own code and words", arguments: rungs)
    func rung(_ one: Case) async throws {
        var saying = Saying()
        one.change(&saying)
        let bench = FrontBench()
        let answer = try await bench.use { client, _ async throws in try await client.ask(saying.request) }
        #expect(answer.id == #""x""#)
        guard let code = one.code else {
            #expect(answer.status == 200)
            #expect(answer.result?["ok"] == true)
            #expect(bench.service.messages.map(\.revision) == [.modern])
            return
        }
        #expect(answer.status == 400)
        #expect(answer.errorCode == code)
        #expect(answer.error?["message"]?.stringValue?.contains(one.words) == true, "\(answer.text)")
        #expect(bench.service.messages.isEmpty)
        if code == -32022 {
            let named = answer.error?["data"]?["requested"]?.stringValue
            #expect(saying.version == [named])
            #expect(answer.error?["data"]?["supported"]?.arrayValue?.first == "2026-07-28")
        }
    }

    @Test("The rungs come in the order the protocol gives them")
    func order() async throws {
        // Everything is wrong at first; one thing after the other is put right.
        var saying = Saying(
            metaVersion: "1", metaCapabilities: "[]", version: [], method: [], name: [], bodyMethod: "tools/call")
        let repairs: [(words: String, repair: (inout Saying) -> Void)] = [
            ("protocolVersion", { $0.metaVersion = #""2031-01-01""# }),
            ("clientCapabilities", { $0.metaCapabilities = "{}" }),
            ("MCP-Protocol-Version", { $0.version = ["2031-01-01"] }),
            ("Mcp-Method", { $0.method = ["tools/call"] }),
            ("Mcp-Name", { $0.name = ["t"] }),
            (
                "not supported",
                { saying in
                    saying.version = ["2026-07-28"]
                    saying.metaVersion = #""2026-07-28""#
                }
            ),
        ]
        try await FrontBench().use { client, _ async throws in
            for (words, repair) in repairs {
                let answer = try await client.ask(saying.request)
                #expect(answer.error?["message"]?.stringValue?.contains(words) == true, "\(answer.text)")
                repair(&saying)
            }
            #expect(try await client.ask(saying.request).result?["ok"] == true)
        }
    }
}

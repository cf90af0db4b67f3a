// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import NIOCore
import Testing

@testable import Gateway

@Suite("Once wrong in calls and names") struct OnceWrongTests {
    private static let tools = Offers(tools: [.plain("do")])
    private static let done = #"{"content":[{"type":"text","text":"done"}]}"#

    @Test("a client is not asked what its retry does not declare, though its first request did")
    func fewerCapabilities() async throws {
        let backend = AskingBackend(name: "server", offers: Self.tools) {
            call async throws(CallFailure) -> CallAnswer in
            for _ in 0..<2 { _ = await call.conversation?.ask(Question(kind: .elicitation, params: ["message": "?"])) }
            return try .of(Self.done)
        }
        let bench = try PipelineBench(backend)
        let first = try await bench.call(.modern(.elicitationForm))
        let second = try await bench.retry(.modern(.roots), first, #"{"elicitation-1":{"action":"decline"}}"#)
        #expect(second?.type == "complete", "\(second?.text ?? "")")
    }

    @Test("pages for a stateless client that cannot visit any: -32021 that names what is missing")
    func missingCapability() async throws {
        let error = #"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://a/"}]}}"#
        let backend = AskingBackend(name: "server", offers: Self.tools) { _ async throws(CallFailure) -> CallAnswer in
            try .error(error)
        }
        let reply = try await PipelineBench(backend).call(.modern(.elicitationForm))
        #expect(reply?.code == -32021)
        #expect(reply?["error"]?["data"]?.text == #"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#)
    }

    @Test("a URI that begins with a combining mark comes back whole")
    func combiningMark() {
        let names = ResourceNames(prefix: "gh")
        for original in ["\u{301}x", "ui://\u{301}x"] {
            #expect(names.original(names.exposed(original)).map { Array($0.utf8) } == Array(original.utf8))
        }
    }

    @Test("a URI that is listed leads to who lists it, though it looks like another owner's label")
    func shadowed() {
        let item = OfferedItem(name: "git+ssh://r", definition: Array("{}".utf8))
        func owner(_ name: String, prefix: String, _ offers: Offers) -> (owner: Owner, offers: Offers) {
            let backend = AskingBackend(name: name, offers: offers) { _ async throws(CallFailure) -> CallAnswer in
                throw .unknownTool
            }
            return (Owner(backend: backend, prefix: prefix), offers)
        }
        let routes = ResourceRoutes([
            owner("git", prefix: "git", Offers()), owner("plain", prefix: "", Offers(resources: [item])),
        ])
        #expect(routes.resolve("git+ssh://r")?.owner.backend.name == "plain")
    }

    @Test("an edit is for the tool of that name, byte for byte")
    func editByBytes() async throws {
        let backend = AskingBackend(name: "server", offers: Offers(tools: [.plain("\u{212a}")])) {
            _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        let bench = try PipelineBench([
            CatalogueEntry(backend: backend, prefix: "", exposure: Exposure(edits: ["K": ToolEdit(name: "other")]))
        ])
        #expect(!bench.catalogue.has("other"))
    }
}

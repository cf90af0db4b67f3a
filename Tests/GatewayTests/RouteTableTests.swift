// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// Which owner a name or a URI leads to.
@Suite("Routes") struct RouteTableTests {
    private static func item(_ name: String) -> OfferedItem { OfferedItem(name: name, definition: Array("{}".utf8)) }

    private static func owner(
        _ prefix: String, name: String? = nil, resources: [String] = [], templates: [String] = []
    ) -> (owner: Owner, offers: Offers) {
        let offers = Offers(resources: resources.map(item), templates: templates.map(item))
        let backend = AskingBackend(name: name ?? prefix, offers: offers) { _ async throws(CallFailure) -> CallAnswer in
            throw .unknownTool
        }
        return (Owner(backend: backend, prefix: prefix), offers)
    }

    private static func table(
        _ owners: [(owner: Owner, offers: Offers)], prompts: [String: Destination] = [:]
    ) -> RouteTable {
        RouteTable(tools: [:], prompts: prompts, resources: ResourceRoutes(owners))
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let uri: String
        /// Owner's name and its own URI; nil when there is none, or no single one.
        let found: [String]?
        var testDescription: String { uri.debugDescription }

        init(_ uri: String, _ owner: String? = nil, _ original: String? = nil) {
            self.uri = uri
            found = owner.map { [$0, original ?? uri] }
        }
    }

    static let labelled: [Case] = [
        Case("one+file:///a", "one", "file:///a"), Case("two+file:///a", "two", "file:///a"),
        Case("one+never:seen", "one", "never:seen"), Case("ui://one/panel", "one", "ui://panel"),
        Case("ui://two/panel", "two", "ui://panel"),
        // An original URI as it may stand in some text: fine as long as it can only be one owner's.
        Case("file:///only-one", "one"), Case("file:///only-two", "two"), Case("file:///a"),
        Case("https://web.example/x", "two"), Case("https://web.example/y"), Case("ui://panel"),
        // Templates: the longest beginning wins, and two that are alike are nobody's.
        Case("db://table/7", "one"), Case("db://table/rows/7", "two"), Case("db://table"),
        Case("same://x"), Case("any://x", "one"),
        Case(""), Case("three+file:///a"), Case("ONE+file:///a", "one", "file:///a"), Case("nothing"), Case("one"),
        Case("one+", "one", ""),
    ]

    @Test("A URI leads to its owner by label, list or template, and to nobody where two have it", arguments: labelled)
    func labels(_ one: Case) {
        let table = Self.table([
            Self.owner(
                "one", resources: ["file:///a", "file:///only-one"],
                templates: ["db://table/{id}", "same://{x}", "any://{x}"]),
            Self.owner(
                "two", resources: ["file:///a", "file:///only-two", "https://web.example/x"],
                templates: ["db://table/rows/{id}", "same://{y}", "{+whatever}"]),
        ])
        let found = table.resource(one.uri)
        #expect(found.map { [$0.backend.name, $0.target] } == one.found)
        if let found {
            #expect(found.operation == .resource)
            #expect(found.exposedName == one.uri)
        }
    }

    static let plain: [Case] = [
        Case("file:///a", "plain"), Case("anything at all", "plain"), Case("up+file:///a", "up", "file:///a"),
        Case("file:///b", "up"), Case("", "plain"), Case("ui://up/x", "up", "ui://x"), Case("ui://x", "plain"),
    ]

    @Test("What nobody lists is the one owner's whose URIs are shown as they are", arguments: plain)
    func onePlain(_ one: Case) {
        let table = Self.table([
            Self.owner("up", resources: ["file:///b"]), Self.owner("", name: "plain", resources: ["file:///a"]),
        ])
        #expect(table.resource(one.uri).map { [$0.backend.name, $0.target] } == one.found)
    }

    @Test("Of two such owners nobody can tell whose an unlisted URI is")
    func twoPlain() {
        let table = Self.table([
            Self.owner("", name: "a", resources: ["file:///a", "file:///both"], templates: ["t://{x}"]),
            Self.owner("", name: "b", resources: ["file:///b", "file:///both"]),
        ])
        #expect(table.resource("file:///a")?.backend.name == "a")
        #expect(table.resource("file:///b")?.backend.name == "b")
        #expect(table.resource("t://5")?.backend.name == "a")
        #expect(table.resource("file:///both") == nil)
        #expect(table.resource("file:///c") == nil)
    }

    @Test("An owner that lists one thing twice is still one owner")
    func listedTwice() {
        let table = Self.table([
            Self.owner("up", resources: ["x:a", "x:a"], templates: ["x:a", "x:{b}", "x:{c}"])
        ])
        #expect(table.resource("x:a")?.target == "x:a")
        #expect(table.resource("x:q")?.target == "x:q")
    }

    static let references: [(String, String?, String)] = [
        (#"{"type":"ref/prompt","name":"up__ask"}"#, #"{"type":"ref/prompt","name":"ask me"}"#, "up__ask"),
        (
            #"{"title":"t","name":"up__ask","type":"ref/prompt","x":1.0}"#,
            #"{"title":"t","name":"ask me","type":"ref/prompt","x":1.0}"#, "up__ask"
        ),
        (
            #"{"type":"ref/resource","uri":"up+db://{id}"}"#, #"{"type":"ref/resource","uri":"db://{id}"}"#,
            "up+db://{id}"
        ),
        (#"{"type":"ref/resource","uri":"db://{id}"}"#, #"{"type":"ref/resource","uri":"db://{id}"}"#, "db://{id}"),
        (#"{"type":"ref/prompt","name":"ask me"}"#, nil, ""), (#"{"type":"ref/prompt"}"#, nil, ""),
        (#"{"type":"ref/prompt","name":5}"#, nil, ""), (#"{"type":"ref/prompt","uri":"up+db://{id}"}"#, nil, ""),
        (#"{"type":"ref/resource","uri":"elsewhere:x"}"#, nil, ""), (#"{"type":"ref/resource"}"#, nil, ""),
        (#"{"type":"ref/tool","name":"up__ask"}"#, nil, ""), (#"{"name":"up__ask"}"#, nil, ""), ("[]", nil, ""),
        ("null", nil, ""), (#""ref/prompt""#, nil, ""), (#"{"type":"ref/prompt","name":"up__as\u212a"}"#, nil, ""),
    ]

    @Test("What is completed is named in its owner's words, all else of it kept", arguments: references)
    func completion(_ reference: String, _ expected: String?, _ exposed: String) throws {
        let up = Self.owner("up", templates: ["db://{id}"])
        let prompt = Destination(.prompt, "up__ask", target: "ask me", owner: up.owner)
        let table = Self.table([up], prompts: ["up__ask": prompt])
        let found = table.completion(try JSONValue.parse(reference))
        #expect(found?.targetJSON.map { String(decoding: $0, as: UTF8.self) } == expected)
        if let found {
            #expect(found.operation == .completion)
            #expect(found.exposedName == exposed)
        }
    }
}

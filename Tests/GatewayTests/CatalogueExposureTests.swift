// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Telemetry
import Testing

@testable import Gateway

/// What of each owner is shown, under which names, and what the lists say.
@Suite("Exposure") struct CatalogueExposureTests {
    private static func backend(
        _ name: String, route: String = "upstream", _ offers: Offers
    ) -> AskingBackend {
        AskingBackend(name: name, route: route, offers: offers) { call async throws(CallFailure) -> CallAnswer in
            try .of(#"{"content":[{"type":"text","text":\#(JSONText.quoted("\(name) \(call.target)"))}]}"#)
        }
    }

    private static func tools(_ names: [String]) -> Offers { Offers(tools: names.map { .plain($0) }) }

    private func listed(_ bench: PipelineBench, _ method: String = "tools/list", _ member: String = "tools")
        async throws
        -> [JSONValue]
    {
        try await bench.ask(method, "", .modern())?["result"]?[member]?.arrayValue ?? []
    }

    private func names(_ bench: PipelineBench) async throws -> [String] {
        try await listed(bench).compactMap { $0["name"]?.stringValue }
    }

    static let filters: [([String], [String], [String])] = [
        ([], [], ["read", "write", "write_all", "delete"]), (["read"], [], ["read"]),
        (["write*"], [], ["write", "write_all"]),
        ([], ["write*", "delete"], ["read"]), (["*"], ["delete"], ["read", "write", "write_all"]),
        (["write*"], ["*_all"], ["write"]), (["up__read"], [], []), (["READ"], [], []), ([], ["*"], []),
    ]

    @Test("A filter is over the owner's own names; what it hides cannot be called either", arguments: filters)
    func filter(_ allow: [String], _ deny: [String], _ shown: [String]) async throws {
        let all = ["read", "write", "write_all", "delete"]
        let exposure = Exposure(
            filter: NameFilter(allow: allow.map { NamePattern($0) }, deny: deny.map { NamePattern($0) }))
        let bench = try PipelineBench([
            CatalogueEntry(backend: Self.backend("server", Self.tools(all)), prefix: "up", exposure: exposure)
        ])
        #expect(try await names(bench) == shown.map { "up__\($0)" })
        #expect(bench.catalogue.toolCount == shown.count)
        for name in all {
            let reply = try await bench.ask("tools/call", #""name":"up__\#(name)""#, .modern())
            if shown.contains(name) {
                #expect(reply?.words == "server \(name)")
            } else {
                #expect(reply?.code == -32602)
                #expect(!bench.catalogue.has("up__\(name)"))
            }
        }
    }

    static let edits: [(ToolEdit, String, String)] = [
        (ToolEdit(), "up__do", #""description":"A tool""#),
        (ToolEdit(name: "other"), "up__other", #""description":"A tool""#),
        (ToolEdit(description: "Better \"words\""), "up__do", #""description":"Better \"words\"""#),
        (ToolEdit(title: "Title"), "up__do", #""title":"Title""#),
        (
            ToolEdit(name: "a.b", title: "T", description: ""), ExposedName.make(prefix: "up", tool: "a.b"),
            #""description":"""#
        ),
    ]

    @Test(
        "An edit gives a tool another name or other words; it is called by the new name, its owner by the old",
        arguments: edits)
    func edit(_ edit: ToolEdit, _ name: String, _ member: String) async throws {
        let bench = try PipelineBench([
            CatalogueEntry(
                backend: Self.backend("server", Self.tools(["do", "rest"])), prefix: "up",
                exposure: Exposure(edits: ["do": edit, "none": ToolEdit(name: "x")]))
        ])
        #expect(try await names(bench) == [name, "up__rest"])
        let shown = try #require(try await listed(bench).first)
        #expect(shown.text.contains(member), "\(shown.text)")
        #expect(shown["inputSchema"] == ["type": "object"])
        #expect(try await bench.ask("tools/call", #""name":"\#(name)""#, .modern())?.words == "server do")
        if name != "up__do" { #expect(!bench.catalogue.has("up__do")) }
    }

    @Test("A filter knows a tool by its old name, whatever it is called now")
    func filterAndEdit() async throws {
        let exposure = Exposure(
            filter: NameFilter(allow: [NamePattern("do")], deny: []),
            edits: ["do": ToolEdit(name: "new"), "rest": ToolEdit(name: "do")])
        let bench = try PipelineBench([
            CatalogueEntry(backend: Self.backend("server", Self.tools(["do", "rest"])), prefix: "", exposure: exposure)
        ])
        #expect(try await names(bench) == ["new"])
    }

    @Test("Of two things of one name the first is kept, of every kind, and the other owner's rest stays")
    func collisions() async throws {
        func item(_ name: String, _ words: String) -> OfferedItem {
            OfferedItem(name: name, definition: Array(#"{"description":"\#(words)"}"#.utf8))
        }
        func offers(_ words: String) -> Offers {
            Offers(
                tools: [item("same", words), item(words, words)], prompts: [item("same", words), item(words, words)],
                resources: [item("x:same", words), item("x:\(words)", words)],
                templates: [item("x:{same}", words), item("x:{\(words)}", words)])
        }
        let bench = try PipelineBench([
            CatalogueEntry(backend: Self.backend("one", offers("first")), prefix: ""),
            CatalogueEntry(backend: Self.backend("two", offers("second")), prefix: ""),
        ])
        for (method, member) in [
            ("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            let items = try await listed(bench, method, member)
            #expect(items.compactMap { $0["description"]?.stringValue } == ["first", "first", "second"], "\(method)")
        }
        #expect(try await bench.ask("tools/call", #""name":"same""#, .modern())?.words == "one same")
        // A URI that both have is nobody's: nobody can tell who is meant.
        #expect(try await bench.ask("resources/read", #""uri":"x:same""#, .modern())?.code == -32602)
        #expect(try await bench.ask("resources/read", #""uri":"x:second""#, .modern())?.words == "two x:second")
    }

    @Test("An edit may collide with a neighbour, and then the first of the two is kept")
    func editCollision() async throws {
        let bench = try PipelineBench([
            CatalogueEntry(
                backend: Self.backend("server", Self.tools(["a", "b", "c"])), prefix: "",
                exposure: Exposure(edits: ["a": ToolEdit(name: "b")]))
        ])
        #expect(try await names(bench) == ["b", "c"])
        #expect(try await bench.ask("tools/call", #""name":"b""#, .modern())?.words == "server a")
    }

    static let broken: [(String, String)] = [
        (#"{"name":"do","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}}"#, "upstream"),
        (#"{"name":"do","inputSchema":{"type":"objet"}}"#, "wasm"),
        (#"{"name":"do","inputSchema":{"type":"object"},"outputSchema":{"$ref":"http://a/"}}"#, "wasm"),
    ]

    @Test("A tool that cannot be offered is left out, and the others stay", arguments: broken)
    func leftOut(_ definition: String, _ route: String) async throws {
        let broken = OfferedItem(name: "do", definition: Array(definition.utf8))
        let bench = try PipelineBench([
            CatalogueEntry(
                backend: Self.backend("server", route: route, Offers(tools: [.plain("a"), broken, .plain("b")])),
                prefix: "")
        ])
        #expect(try await names(bench) == ["a", "b"])
        #expect(!bench.catalogue.has("do"))
    }

    @Test("What is left out is told in one line for each owner and cause, and again only when it is something else")
    func told() throws {
        let time = ManualTime()
        let logs = try ReadableLogs(time)
        let bad = OfferedItem(name: "bad", definition: Array(#"{"name":"bad","inputSchema":{"type":"objet"}}"#.utf8))
        let names = (0..<500).map { "t\($0)" }
        let two = Self.backend("two", route: "wasm", Offers(tools: names.map { .plain($0) } + [bad]))
        let catalogue = Catalogue(
            entries: [
                CatalogueEntry(backend: Self.backend("one", Self.tools(names)), prefix: ""),
                CatalogueEntry(backend: two, prefix: ""),
            ], identity: ServerIdentity(version: "1", instructions: "i"), time: time, metrics: MetricsRegistry(),
            logs: logs.files)
        func taken() -> [String] { logs.lines("names are taken already") }
        func lines() -> [String] { logs.lines("upstream=two") }
        #expect(lines().count == 2 && logs.lines("upstream=one").isEmpty, "\(lines())")
        #expect(taken().first?.contains("count=500") == true && taken().first?.contains("tool=t0") == true)
        #expect(logs.lines("tools are left out").first?.contains("tool=bad") == true)
        for _ in 0..<3 { _ = catalogue.rebuild() }
        #expect(lines().count == 2)
        two.offer(Self.tools(["t1", "t2"]))
        for _ in 0..<3 { _ = catalogue.rebuild() }
        #expect(taken().count == 2 && taken().last?.contains("count=2") == true)
        // One that brings others each time has its lines counted, and is told when there is room for it again.
        for number in 0..<200 {
            two.offer(Self.tools(["t\(number)"]))
            _ = catalogue.rebuild()
        }
        #expect(lines().count == 20)
        time.advance(by: .seconds(61))
        _ = catalogue.rebuild()
        #expect(lines().count == 21 && lines().last?.contains("omitted_before=") == true)
    }

    @Test("A definition that changes under the same name is read anew")
    func changed() async throws {
        let backend = Self.backend("server", Self.tools(["do"]))
        let bench = try PipelineBench(backend)
        let words = #"{"name":"do","description":"New words","inputSchema":{"type":"object"}}"#
        backend.offer(Offers(tools: [OfferedItem(name: "do", definition: Array(words.utf8))]))
        #expect(bench.catalogue.rebuild() == [.tools])
        #expect(try await listed(bench).first?["description"] == "New words")
        #expect(bench.catalogue.rebuild() == [])
        var more = backend.offers()
        more.prompts = [.plain("p")]
        more.templates = [OfferedItem(name: "x:{a}", definition: Array("{}".utf8))]
        backend.offer(more)
        #expect(bench.catalogue.rebuild() == [.prompts, .templates])
        backend.offer(Offers())
        #expect(bench.catalogue.rebuild() == [.tools, .prompts, .templates])
    }

    @Test("What owners tell models stands under their labels, bounded, after our own words")
    func instructions() async throws {
        func offers(_ text: String?) -> Offers {
            var offers = Offers()
            offers.instructions = text
            return offers
        }
        let bench = try PipelineBench([
            CatalogueEntry(backend: Self.backend("one", offers("Use me.")), prefix: "one"),
            CatalogueEntry(backend: Self.backend("two", offers(nil)), prefix: "two"),
            CatalogueEntry(backend: Self.backend("three", offers("")), prefix: "three"),
            CatalogueEntry(backend: Self.backend("four", offers("Plain.")), prefix: ""),
            CatalogueEntry(
                backend: Self.backend("five", offers(String(repeating: "x", count: 50_000))), prefix: "five"),
        ])
        for client in [PipelineBench.Client.modern(), .legacy()] {
            let method = client.revision.isModern ? "server/discover" : "initialize"
            let text = try #require(try await bench.ask(method, "", client)?["result"]?["instructions"]?.stringValue)
            #expect(text.hasPrefix("i\n\none: Use me.\n\nPlain.\n\nfive: xxx"))
            #expect(text.count < 3_000)
        }
    }
}

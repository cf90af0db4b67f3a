// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

@testable import Gateway

/// Who hears of what.
@Suite("Change hub") struct ChangeHubTests {
    private let hub = ChangeHub()

    private func listen(
        _ stream: ScriptedStream, id: String = "1", _ kinds: Set<ListKind> = [], _ uris: Set<String> = []
    ) throws -> Int {
        let interest = ChangeHub.Interest(kinds: kinds, uris: uris)
        let number = hub.add(.stream(stream, id: Array(id.utf8)), interest, close: {})
        return try #require(number)
    }

    @Test("A listen hears nothing until it is acknowledged, and nothing after it has ended")
    func quiet() throws {
        let stream = ScriptedStream()
        let number = try listen(stream, [.tools], ["x:a"])
        hub.tell([.tools])
        hub.tell(updated: "x:a")
        #expect(stream.sent.isEmpty)
        #expect(hub.watched == ["x:a"], "its owners must know of it before")
        hub.open(number)
        hub.tell([.tools])
        #expect(stream.sent.count == 1)
        hub.remove(number)
        hub.tell([.tools])
        #expect(stream.sent.count == 1)
        #expect(hub.watched.isEmpty)
        #expect(hub.listenerCount == 0)
        // To open what is not there harms nobody.
        hub.open(number)
    }

    @Test(
        "Each listener has its own copy, with its own mark as it wrote it",
        arguments: ["5", #""five""#, #""a\u0041""#, "-1"])
    func marks(_ id: String) throws {
        let (one, other) = (ScriptedStream(), ScriptedStream())
        for (stream, id) in [(one, id), (other, "99")] { hub.open(try listen(stream, id: id, [.prompts], ["x:a"])) }
        hub.tell([.prompts])
        hub.tell(updated: "x:a\"")
        hub.tell(updated: "x:a")
        let mark = #""_meta":{"io.modelcontextprotocol/subscriptionId":\#(id)}"#
        #expect(
            one.sent == [
                #"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{\#(mark)}}"#,
                #"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{\#(mark),"uri":"x:a"}}"#,
            ])
        #expect(one.vital == [true, true], "a change that is lost is never told again")
        #expect(other.sent.count == 2)
        #expect(other.sent.allSatisfy { $0.contains(#""io.modelcontextprotocol/subscriptionId":99}"#) })
    }

    static let kinds: [(Set<ListKind>, Set<ListKind>, [String])] = [
        ([.tools], [.tools], ["tools"]), ([.tools], [.prompts, .resources, .templates], []),
        ([.resources], [.templates], ["resources"]), ([.resources], [.resources, .templates], ["resources"]),
        ([], [.tools, .prompts, .resources, .templates], []),
        ([.tools, .prompts, .resources], [.tools, .prompts, .templates], ["prompts", "resources", "tools"]),
        ([.tools, .prompts, .resources], [], []),
    ]

    @Test("A listener hears of the lists it asked for; templates count as resources, and once", arguments: kinds)
    func lists(_ wanted: Set<ListKind>, _ changed: Set<ListKind>, _ heard: [String]) throws {
        let stream = ScriptedStream()
        hub.open(try listen(stream, wanted))
        hub.tell(changed)
        let methods = stream.messages.compactMap { $0["method"]?.stringValue }.sorted()
        #expect(methods == heard.map { "notifications/\($0)/list_changed" })
    }

    static let covering: [(String, String, Bool)] = [
        ("file:///a", "file:///a", true), ("file:///a", "file:///a/b", true), ("file:///a", "file:///a/b/c", true),
        ("file:///a", "file:///ab", false), ("file:///a/", "file:///a/b", true), ("file:///a/", "file:///a", false),
        ("file:///a/b", "file:///a", false), ("file:///a", "file:///A", false), ("file:///a", "file:///a?q", false),
        ("file:///K", "file:///\u{212a}", false), ("file:///a", "file:///a/\u{301}b", true), ("x:", "x:/a", true),
        ("x:", "x:a", false),
    ]

    @Test("A resource covers what lies below it, and nothing beside it", arguments: covering)
    func subResources(_ wanted: String, _ changed: String, _ isHeard: Bool) throws {
        let stream = ScriptedStream()
        hub.open(try listen(stream, [], [wanted]))
        hub.tell(updated: changed)
        #expect(stream.messages.map { $0["params"]?["uri"]?.stringValue } == (isHeard ? [changed] : []))
    }

    @Test("A listener hears once of a change that two of its wishes cover")
    func once() throws {
        let stream = ScriptedStream()
        hub.open(try listen(stream, [], ["x:/a", "x:/a/b", "x:/"]))
        hub.tell(updated: "x:/a/b")
        #expect(stream.sent.count == 1)
    }

    @Test("A session hears of all lists, and of the resources it asks for, without marks")
    func sessions() {
        let (session, other) = (ScriptedSession(number: 1), ScriptedSession(number: 2))
        hub.add(session)
        hub.add(session)
        hub.add(other)
        #expect(hub.listenerCount == 2)
        #expect(hub.change(session.key) { $0.insert("x:a") })
        hub.tell([.tools])
        hub.tell(updated: "x:a")
        #expect(
            session.delivered == [
                #"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                #"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x:a"}}"#,
            ])
        #expect(other.delivered.count == 1)
        #expect(hub.change(session.key) { $0.remove("x:a") })
        hub.tell(updated: "x:a")
        hub.remove(session.key)
        hub.tell([.tools])
        #expect(session.delivered.count == 2)
        #expect(!hub.change(session.key) { $0.insert("x:a") }, "it is not there any more")
    }

    @Test("A session may want so many resources and no more, and keeps those it had")
    func bound() {
        let session = ScriptedSession()
        hub.add(session)
        #expect(hub.change(session.key) { uris in for number in 0..<ChangeHub.urisMax { uris.insert("x:\(number)") } })
        #expect(!hub.change(session.key) { $0.insert("x:more") })
        #expect(hub.watched.count == ChangeHub.urisMax)
        #expect(!hub.watched.contains("x:more"))
    }

    @Test("At the end every listen is told to, and none begins; sessions have their own end")
    func close() throws {
        let closed = Collected<Int>()
        for number in 0..<3 {
            let listener = ChangeHub.Listener.stream(ScriptedStream(), id: [0x31])
            _ = try #require(hub.add(listener, ChangeHub.Interest()) { closed.add(number) })
        }
        hub.add(ScriptedSession())
        hub.close()
        #expect(closed.all.sorted() == [0, 1, 2])
        #expect(hub.add(.stream(ScriptedStream(), id: [0x31]), ChangeHub.Interest(), close: {}) == nil)
    }

    @Test("There is an end to how many listen")
    func tooMany() throws {
        let stream = ScriptedStream()
        var last = 0
        for _ in 0..<8_192 { last = try listen(stream) }
        #expect(hub.add(.stream(stream, id: [0x31]), ChangeHub.Interest(), close: {}) == nil)
        hub.add(ScriptedSession())
        #expect(hub.listenerCount == 8_192)
        hub.remove(last)
        _ = try listen(stream)
    }
}

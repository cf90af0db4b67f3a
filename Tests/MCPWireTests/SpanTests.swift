// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

/// A message with its bytes. The macros of the tests cannot take a `Span`.
private struct Scanned {
    let bytes: [UInt8]
    let message: Message

    init(_ text: String) throws {
        let bytes = Array(text.utf8)
        self.bytes = bytes
        message = try MessageParser.parse(bytes.span, limits: WireLimits())
    }

    func member(_ key: StaticString) -> String? { text(message.member(key, in: bytes.span)?.value) }
    func metaMember(_ key: StaticString) -> String? { text(message.metaMember(key, in: bytes.span)?.value) }
    func begins(_ member: Member, _ prefix: String) -> Bool { member.keyBegins(with: prefix, in: bytes.span) }
    func string(_ member: Member) -> String { JSONText.string(bytes.span, value: member.value) }
    func text(_ range: Range<Int>?) -> String? { range.map { String(decoding: bytes[$0], as: UTF8.self) } }
}

@Suite struct SpanTests {
    private let text = #"""
        { "jsonrpc" : "2.0", "id": 1 , "method":"tools/call",
          "params" : { "name" : "echo\n" , "arguments":{"_meta":{"x":1},"n":1.50}, "l\u0069mit" :[1, 2],
            "_m\u0065ta" : { "progressToken":"t", "io.example\/k":null , "trace\u0070arent": true } , "n": -1e5 } }
        """#

    @Test("the ranges of members point at the value as it was written")
    func pointsAtMembers() throws {
        let scanned = try Scanned(text)
        let members = scanned.message.members
        #expect(members.map { scanned.text($0.key) } == ["name", "arguments", #"l\u0069mit"#, #"_m\u0065ta"#, "n"])
        let values = members.map { scanned.text($0.value) ?? "" }
        #expect(Array(values.prefix(3)) == [#""echo\n""#, #"{"_meta":{"x":1},"n":1.50}"#, "[1, 2]"])
        #expect(members.map(\.kind) == [.string, .object, .array, .object, .number])
        #expect(members.map(\.keyIsEscaped) == [false, false, true, true, false])
        #expect(scanned.message.bodyKind == .object)
        #expect(scanned.member("limit") == "[1, 2]")
        #expect(scanned.member("n") == "-1e5")
        #expect(scanned.member("limi") == nil)
        #expect(scanned.member("limits") == nil)
        #expect(scanned.member("Limit") == nil)
        #expect(scanned.string(members[0]) == "echo\n")
    }

    @Test("the ranges of _meta point at its members, and only at those of the payload itself")
    func pointsAtMeta() throws {
        let scanned = try Scanned(text)
        let meta = scanned.message.meta
        #expect(meta.count == 3)
        #expect(scanned.metaMember("progressToken") == "\"t\"")
        #expect(scanned.metaMember("traceparent") == "true")
        #expect(scanned.metaMember("io.example/k") == "null")
        #expect(scanned.metaMember("x") == nil)
        #expect(scanned.begins(meta[1], "io.example/"))
        #expect(!scanned.begins(meta[1], "io.example/kk"))
        #expect(scanned.begins(meta[0], ""))
        #expect(scanned.begins(meta[0], "progress"))
        #expect(!scanned.begins(meta[0], "progressTokens"))
    }

    @Test("a prefix is compared by bytes: a combining mark behind it does not hide it")
    func comparesPrefixesByBytes() throws {
        let params = "{\"x-\u{301}y\":1,\"\\u0078-\\u0301z\":2}"
        let scanned = try Scanned("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":\(params)}")
        #expect(scanned.message.members.count == 2)
        for member in scanned.message.members { #expect(scanned.begins(member, "x-")) }
    }

    static let metas: [(String, Int)] = [
        (#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"b":2}}}"#, 2),
        (#"{"jsonrpc":"2.0","id":1,"error":{"_meta":{"a":1}}}"#, 1),
        (#"{"jsonrpc":"2.0","id":1,"p\u0061rams":{"\u005fmeta":{"a":1}},"method":"m"}"#, 1),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","_meta":{"a":1}}"#, 0),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":[{"a":1}]}}"#, 0),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":null}}"#, 0),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":{"_meta":{"a":1}}}}"#, 0),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","other":{"params":{"_meta":{"a":1}}}}"#, 0),
        (#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"_meta":{"a":1,"b":1}}}}"#, 1),
        (#"{"jsonrpc":"2.0","id":1,"result":[{"_meta":{"a":1}}]}"#, 0),
    ]

    @Test("_meta is the one of the payload, wherever else the word stands", arguments: metas)
    func findsMeta(_ text: String, _ count: Int) throws {
        #expect(try parse(text).meta.count == count)
    }

    @Test("an object that stands alone has its members and its _meta")
    func scansObjects() throws {
        let text = " {\"content\":[],\"_meta\":{\"a\":1},\"isError\":false}\n"
        let bytes = Array(text.utf8)
        let object = try MessageParser.object(bytes.span, limits: WireLimits())
        #expect(object.range == 1..<(text.utf8.count - 1))
        #expect(object.members.map { piece(text, $0.value) } == ["[]", "{\"a\":1}", "false"])
        #expect(object.meta.map { piece(text, $0.key) } == ["a"])
    }

    @Test(
        "a value that is no object is refused where an object must stand", arguments: ["[]", "1", "\"{}\"", "null", ""])
    func refusesOthers(_ text: String) {
        #expect(throws: WireError.self) {
            let bytes = Array(text.utf8)
            _ = try MessageParser.object(bytes.span, limits: WireLimits())
        }
    }

    @Test("every beginning of a message is refused, and none is read past its end")
    func refusesBeginnings() throws {
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            #expect(throws: WireError.self, "\(count) bytes") {
                let part = Array(bytes[..<count])
                _ = try MessageParser.parse(part.span, limits: WireLimits())
            }
        }
    }
}

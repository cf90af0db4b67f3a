// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

func parse(_ text: String) throws(WireError) -> Message {
    let bytes = Array(text.utf8)
    return try MessageParser.parse(bytes.span, limits: WireLimits())
}

func piece(_ text: String, _ range: Range<Int>?) -> String? {
    let bytes = Array(text.utf8)
    return range.map { String(decoding: bytes[$0], as: UTF8.self) }
}

@Suite struct MessageTests {
    static let ids = [
        "0", "7", "-1", "-0", "9007199254740993", "9223372036854775807", "-9223372036854775808", "18446744073709551615",
        "123456789012345678901234567890", "\"\"", "\"7\"", "\"a b\"", "\"\\u0037\"", "\"\u{1f600}\"", "\"\\\"\"",
    ]

    @Test("an id is kept exactly as it was written", arguments: ids)
    func keepsIDs(_ id: String) throws {
        for text in [
            "{\"jsonrpc\":\"2.0\",\"id\":\(id),\"method\":\"ping\"}",
            "{\"id\" : \(id) ,\"method\":\"ping\",\"jsonrpc\":\"2.0\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":\(id),\"result\":{}}", "{\"jsonrpc\":\"2.0\",\"error\":{},\"id\":\(id)}",
        ] {
            #expect(try piece(text, parse(text).id) == id)
        }
    }

    @Test(
        "an id that is neither a string nor an integer is refused",
        arguments: ["null", "1.0", "1.5", "1e3", "1E3", "-0.0", "true", "false", "[]", "[1]", "{}", "{\"a\":1}"])
    func refusesIDs(_ id: String) {
        let request = refusal("{\"jsonrpc\":\"2.0\",\"id\":\(id),\"method\":\"ping\"}")
        #expect(request?.kind == .invalidRequest)
        #expect(request?.idText == nil)
        #expect(refusal("{\"jsonrpc\":\"2.0\",\"id\":\(id),\"result\":{}}")?.kind == .invalidRequest)
        if id != "null" {
            #expect(refusal("{\"jsonrpc\":\"2.0\",\"id\":\(id),\"error\":{}}")?.kind == .invalidRequest)
        }
    }

    @Test("an error may come without an id, a result may not")
    func knowsAnonymousErrors() throws {
        for text in [
            "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700}}", "{\"jsonrpc\":\"2.0\",\"error\":{}}",
        ] {
            let message = try parse(text)
            #expect(message.kind == .error)
            #expect(message.id == nil)
        }
        #expect(refusal("{\"jsonrpc\":\"2.0\",\"result\":{}}")?.kind == .invalidRequest)
    }

    struct Classified: Sendable, CustomTestStringConvertible {
        var text: String
        var kind: Message.Kind
        var method: MCPWire.Method
        var body: String?
        var testDescription: String { text }
    }

    static let classified: [Classified] = [
        Classified(text: #"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, kind: .request, method: .ping),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#, kind: .request, method: .toolsList,
            body: "{}"),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"a":1}}"#, kind: .request,
            method: .toolsCall, body: #"{"a":1}"#),
        Classified(
            text: #"{"\u006asonrpc":"2.0","\u0069d":1,"\u006dethod":"\u0070ing","p\u0061rams":{}}"#, kind: .request,
            method: .ping, body: "{}"),
        Classified(text: #"{"jsonrpc":"2\u002e0","id":1,"method":"initialize"}"#, kind: .request, method: .initialize),
        Classified(text: #"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, kind: .request, method: .discover),
        Classified(text: #"{"jsonrpc":"2.0","id":1,"method":"Ping"}"#, kind: .request, method: .other("Ping")),
        Classified(text: #"{"jsonrpc":"2.0","id":1,"method":""}"#, kind: .request, method: .other("")),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"method":"x\u00e9\ud83d\ude00"}"#, kind: .request,
            method: .other("x\u{e9}\u{1f600}")),
        Classified(
            text: #"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, kind: .notification,
            method: .initialized),
        Classified(
            text: #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
            kind: .notification, method: .cancelled, body: #"{"requestId":1}"#),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"result": {"a":[1]} }"#, kind: .result, method: .other(""),
            body: #"{"a":[1]}"#),
        Classified(text: #"{"jsonrpc":"2.0","id":1,"result":null}"#, kind: .result, method: .other(""), body: "null"),
        Classified(text: #"{"jsonrpc":"2.0","id":1,"r\u0065sult":[]}"#, kind: .result, method: .other(""), body: "[]"),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#, kind: .error, method: .other(""),
            body: #"{"code":1,"message":"m"}"#),
        Classified(
            text: #"{"jsonrpc":"2.0","id":1,"method":"ping","extra":{"id":2,"method":"x"},"Params":1}"#, kind: .request,
            method: .ping),
    ]

    @Test("requests, notifications, results and errors are told apart", arguments: classified)
    func classifies(_ expected: Classified) throws {
        let message = try parse(expected.text)
        #expect(message.kind == expected.kind)
        #expect(message.method == expected.method)
        #expect(piece(expected.text, message.body) == expected.body)
    }

    static let refusedMessages: [String] = [
        "[]", #"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "1", "\"ping\"", "null", "{}", #"{"jsonrpc":"2.0"}"#,
        #"{"jsonrpc":"2.0","id":1}"#, #"{"id":1,"method":"ping"}"#, #"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        #"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, #"{"jsonrpc":"2.00","id":1,"method":"ping"}"#,
        #"{"jsonrpc":"2\\.0","id":1,"method":"ping"}"#,
        #"{"jsonrpc":"","id":1,"method":"ping"}"#, #"{"jsonrpc":null,"id":1,"method":"ping"}"#,
        #"{"jsonrpc":"2.0","id":1,"method":7}"#,
        #"{"jsonrpc":"2.0","id":1,"method":null}"#, #"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
        #"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        #"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
        #"{"jsonrpc":"2.0","method":"ping","params":"x"}"#, #"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        #"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#, #"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        #"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#, #"{"jsonrpc":"2.0","id":1,"params":{},"error":{}}"#,
        #"{"jsonrpc":"2.0","id":1,"params":{}}"#, #"{"jsonrpc":"2.0","id":1,"error":"boom"}"#,
        #"{"jsonrpc":"2.0","id":1,"error":null}"#,
        #"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"result":null}"#,
        #"{"JSONRPC":"2.0","id":1,"method":"ping"}"#,
    ]

    @Test("JSON that is no message is refused as a request, not as JSON", arguments: refusedMessages)
    func refusesMessages(_ text: String) {
        let found = refusal(text)
        #expect(found?.kind == .invalidRequest)
        if text.hasPrefix("{"), text.contains("\"id\":1") { #expect(found?.idText == Array("1".utf8)) }
    }

    @Test("the id of a refused message is kept as written")
    func keepsIDOfRefused() {
        #expect(refusal(#"{"id":"\u0061","jsonrpc":"1.0"}"#)?.idText == Array(#""\u0061""#.utf8))
        #expect(
            refusal(#"{"jsonrpc":"2.0","method":1,"id":12345678901234567890}"#)?.idText
                == Array("12345678901234567890".utf8))
    }

    private func refusal(_ text: String) -> WireError? {
        do {
            _ = try parse(text)
            return nil
        } catch { return error }
    }
}

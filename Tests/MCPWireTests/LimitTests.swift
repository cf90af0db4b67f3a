// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@Suite struct LimitTests {
    private func refusal(_ text: String, _ limits: WireLimits = WireLimits()) -> WireError.Kind? {
        do {
            _ = try JSONValue.parse(text, limits: limits)
            return nil
        } catch { return error.kind }
    }

    private func nested(_ open: String, _ close: String, _ depth: Int, _ core: String = "") -> String {
        String(repeating: open, count: depth) + core + String(repeating: close, count: depth)
    }

    @Test("nesting is accepted up to the limit and refused one level past it", arguments: [1, 2, 7, 64])
    func boundsDepth(_ depth: Int) {
        let limits = WireLimits(depthMax: depth)
        #expect(refusal(nested("[", "]", depth), limits) == nil)
        #expect(refusal(nested("[", "]", depth, "1"), limits) == nil)
        #expect(refusal(nested("[", "]", depth + 1), limits) == .tooDeep)
        #expect(refusal(nested("{\"a\":", "}", depth, "1"), limits) == nil)
        #expect(refusal(nested("{\"a\":", "}", depth + 1, "1"), limits) == .tooDeep)
        #expect(refusal(nested("{\"a\":", "}", depth, "[]"), limits) == .tooDeep)
        #expect(refusal(nested("[", "]", depth, "{}"), limits) == .tooDeep)
    }

    @Test("a million open brackets are refused at the limit, not at the end")
    func stopsAtDepth() throws {
        for open in ["[", "{\"a\":"] {
            let text = String(repeating: open, count: 1_000_000)
            #expect(refusal(text, WireLimits(bytesMax: 16 << 20)) == .tooDeep)
        }
    }

    @Test("a message is accepted up to the size limit and refused one byte past it")
    func boundsSize() {
        let text = "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}"
        #expect(refusal(text, WireLimits(bytesMax: text.utf8.count)) == nil)
        #expect(refusal(text, WireLimits(bytesMax: text.utf8.count - 1)) == .tooLarge)
        #expect(refusal(text + " ", WireLimits(bytesMax: text.utf8.count)) == .tooLarge)
        #expect(refusal("", WireLimits(bytesMax: 0)) == .notJSON)
    }

    @Test("a payload of too many members is refused, and objects further inside are not counted")
    func boundsMembers() throws {
        func members(_ count: Int) -> String { (0..<count).map { "\"k\($0)\":0" }.joined(separator: ",") }
        func message(_ params: String) -> [UInt8] {
            Array("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\(params)}}".utf8)
        }
        func kind(_ bytes: [UInt8]) -> WireError.Kind? {
            do {
                _ = try MessageParser.parse(bytes.span, limits: WireLimits())
                return nil
            } catch { return error.kind }
        }
        #expect(kind(message(members(4_096))) == nil)
        #expect(kind(message(members(4_097))) == .tooLarge)
        #expect(kind(message("\"_meta\":{\(members(4_097))}")) == .tooLarge)
        #expect(kind(message("\"arguments\":{\(members(20_000))}")) == nil)
    }

    static let repeated: [String] = [
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"\":1,\"\":2}", "{\"a\":1,\"\\u0061\":2}",
        "{\"\\u0061\":1,\"a\":2}",
        "{\"\\u0061\":1,\"\\u0061\":2}", "{\"\\n\":1,\"\\u000a\":2}", "{\"\\u000A\":1,\"\\u000a\":2}",
        "{\"/\":1,\"\\/\":2}",
        "{\"\u{e9}\":1,\"\\u00e9\":2}", "{\"\u{1f600}\":1,\"\\ud83d\\ude00\":2}",
        "{\"\\ud83d\\ude00\":1,\"\\uD83D\\uDE00\":2}",
        "{\"\u{20ac}\":1,\"\\u20ac\":2}", "{\"\\\"\":1,\"\\u0022\":2}", "{\"\\\\\":1,\"\\u005c\":2}",
        "[{\"a\":{\"b\":1,\"b\":2}}]",
        "{\"x\":{\"a\":1},\"y\":{\"a\":1,\"a\":2}}", "{\"x\":[{\"a\":1,\"c\":[{}],\"a\":2}]}",
        "{\"a\":{\"a\":{}},\"a\":1}",
    ]

    @Test("a key that stands twice in one object is refused, however it is spelled", arguments: repeated)
    func refusesRepeatedKeys(_ text: String) {
        #expect(refusal(text) == .notJSON)
    }

    static let distinct: [String] = [
        "{\"a\":{\"a\":{\"a\":1}}}", "[{\"a\":1},{\"a\":1}]", "{\"a\":1,\"A\":2}", "{\"a\":1,\"a \":2}",
        "{\"a\":1,\"aa\":2,\"\":3}",
        "{\"\\\\u0061\":1,\"a\":2}", "{\"\u{e9}\":1,\"e\u{301}\":2}", "{\"K\":1,\"\u{212a}\":2}",
        "{\"x\":{\"a\":1},\"a\":{\"x\":1}}",
        "{\"\\u0000\":1,\"\":2}", "{\"a\":[{\"b\":1}],\"b\":[{\"a\":1}]}",
    ]

    @Test("keys that differ by a byte are different keys, and each object has its own", arguments: distinct)
    func acceptsDistinctKeys(_ text: String) {
        #expect(refusal(text) == nil)
    }

    @Test("an object of many keys is checked as well as a small one", arguments: [23, 24, 25, 26, 100, 20_000])
    func checksManyKeys(_ count: Int) {
        func object(_ last: String) -> String {
            "{" + (0..<count).map { "\"key\($0)\":{\"key0\":0}" }.joined(separator: ",") + ",\"\(last)\":1}"
        }
        #expect(refusal(object("other")) == nil)
        for repeated in Set([0, 1, count / 2, 22, 23, 24, count - 1]) where repeated < count {
            #expect(refusal(object("key\(repeated)")) == .notJSON, "key\(repeated) of \(count)")
            #expect(refusal(object("\\u006bey\(repeated)")) == .notJSON, "key\(repeated) of \(count), escaped")
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import FoundationEssentials
import MCPWire
import Testing

/// Small, quick and the same everywhere: a seed replays exactly.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

enum Fixtures {
    /// The files of a folder of `Tests/Fixtures`, in the order of their names.
    static func files(_ folder: String) throws -> [(name: String, bytes: [UInt8])] {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let directory = tests.appending(path: "Fixtures").appending(path: folder)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        return try names.filter { !$0.hasPrefix(".") && !$0.hasSuffix(".md") }.map { name in
            (name, Array(try Data(contentsOf: directory.appending(path: name))))
        }
    }
}

@Suite struct FuzzTests {
    /// Pieces that matter to a JSON scanner; spliced in at random places.
    private static let tokens: [[UInt8]] =
        [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\u0061", "\\ud83d", "\\ude00", "\"a\":", "null", "true",
            "1", "-", "0",
            "1e5", ".", " ", "\n", "\u{e9}", "\u{1f600}", "\"id\":", "\"params\":{", "\"_meta\":{", "\"\\u005fmeta\":{",
            "\"result\":", "{}",
            "[[[[[[[[", "{\"a\":{\"b\":{\"c\":",
        ].map { Array($0.utf8) } + [[0x80], [0xff], [0xc3], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0], [0x1f], [0x7f]]

    private static func mutate(_ seed: [UInt8], _ other: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var bytes = seed
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let end = min(bytes.count, place + Int.random(in: 0...12, using: &random))
            switch Int.random(in: 0..<7, using: &random) {
            case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1 where place < bytes.count: bytes[place] = .random(in: .min ... .max, using: &random)
            case 2: bytes.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: place)
            case 3: bytes.replaceSubrange(place..<end, with: tokens.randomElement(using: &random) ?? [])
            case 4: bytes.removeSubrange(place..<end)
            case 5: bytes.insert(contentsOf: bytes[place..<end], at: place)
            default:
                let from = Int.random(in: 0...other.count, using: &random)
                bytes.insert(contentsOf: other[from..<min(other.count, from + 24)], at: place)
            }
        }
        return bytes
    }

    @Test("mutated messages crash nothing, and what is accepted keeps every promise", arguments: [UInt64(20_260_728)])
    func mutations(_ seed: UInt64) throws {
        print("mutations of messages, seed \(seed)")
        var random = SeededRandom(seed: seed)
        let corpus = try Fixtures.files("messages").map(\.bytes)
        try #require(corpus.count >= 8)
        let limits = WireLimits(bytesMax: 1 << 16, depthMax: 12)
        var accepted = 0
        for step in 0..<40_000 {
            let first = corpus[Int.random(in: 0..<corpus.count, using: &random)]
            let second = corpus[Int.random(in: 0..<corpus.count, using: &random)]
            let bytes = Self.mutate(first, second, &random)
            let fault = WireInvariants.fault(bytes, limits: limits)
            try #require(fault == nil, "step \(step): \(String(decoding: bytes, as: UTF8.self))")
            if (try? MessageParser.parse(bytes.span, limits: limits)) != nil { accepted += 1 }
        }
        // A smoke test that refuses everything would show nothing.
        #expect(accepted > 1_000)
    }

    @Test("the scanner and a second, slower reader agree on every text", arguments: [UInt64(8_259)])
    func differential(_ seed: UInt64) throws {
        print("scanner against reference, seed \(seed)")
        var random = SeededRandom(seed: seed)
        var agreed = 0
        for step in 0..<6_000 {
            var bytes: [UInt8] = []
            Self.generate(&bytes, 1, &random)
            if step % 3 != 0 { bytes = Self.mutate(bytes, bytes, &random) }
            let expected = ReferenceJSON.parse(bytes, depthMax: 12)
            let found = try? JSONValue.parse(bytes.span, limits: WireLimits(depthMax: 12))
            try #require(found == expected, "step \(step): \(String(decoding: bytes, as: UTF8.self))")
            if found != nil { agreed += 1 }
        }
        #expect(agreed > 2_000)
    }

    @Test("the tables of grammar mean the same to the second reader")
    func tablesAgree() throws {
        for text in GrammarTests.accepted + LimitTests.distinct {
            #expect(try ReferenceJSON.parse(Array(text.utf8)) == JSONValue.parse(text), "\(text)")
        }
        for text in GrammarTests.refused + LimitTests.repeated {
            #expect(ReferenceJSON.parse(Array(text.utf8)) == nil, "\(text)")
        }
        for (name, broken) in GrammarTests.brokenUTF8 {
            #expect(ReferenceJSON.parse([0x22] + broken + [0x22]) == nil, "\(name)")
        }
    }

    @Test("what the fuzzer once found stays found")
    func findings() throws {
        for (name, bytes) in try Fixtures.files("fuzz") + Fixtures.files("messages") {
            #expect(WireInvariants.fault(bytes) == nil, "\(name)")
            #expect(WireInvariants.streamFault(bytes, eventBytesMax: 64) == nil, "\(name)")
            let expected = ReferenceJSON.parse(bytes)
            let found = try? JSONValue.parse(bytes.span)
            #expect(found == expected, "\(name)")
        }
    }

    /// A random text that is JSON, apart from keys that may meet.
    private static func generate(_ out: inout [UInt8], _ depth: Int, _ random: inout SeededRandom) {
        func string(_ random: inout SeededRandom) {
            var text = ""
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let pool = [
                    "a", "b", "\\n", "\\u0041", "\\ud83d\\ude00", "\u{e9}", "\u{20ac}", "\u{1f600}", "\\\\", "\\\"",
                    " ", "/",
                ]
                text += pool.randomElement(using: &random) ?? ""
            }
            out += Array("\"\(text)\"".utf8)
        }
        switch Int.random(in: 0..<(depth < 14 ? 9 : 5), using: &random) {
        case 0: out += Array("null".utf8)
        case 1: out += Array("true".utf8)
        case 2:
            out += Array(["0", "-1", "1.5e+3", "12345678901234567890", "0.1E-2"].randomElement(using: &random)!.utf8)
        case 3, 4: string(&random)
        case 5, 6:
            out.append(UInt8(ascii: "["))
            for index in 0..<Int.random(in: 0...4, using: &random) {
                if index > 0 { out += Array(" , ".utf8) }
                generate(&out, depth + 1, &random)
            }
            out.append(UInt8(ascii: "]"))
        default:
            out.append(UInt8(ascii: "{"))
            for index in 0..<Int.random(in: 0...4, using: &random) {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                string(&random)
                out += Array(": ".utf8)
                generate(&out, depth + 1, &random)
            }
            out.append(UInt8(ascii: "}"))
        }
    }
}

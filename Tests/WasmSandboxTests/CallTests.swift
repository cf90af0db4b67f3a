// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import MCPWire
import Testing

@testable import WasmSandbox

@Suite("A tool's calls", .serialized, .enabled(if: Library.isThere, Library.hint), .timeLimit(.minutes(2)))
struct CallTests {
    @Test("A first-generation plug-in gets name and arguments byte for byte")
    func echo() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.echo)
        let arguments = #"{ "b":1.50e2, "a":"\u00e4", "n":9007199254740993 }"#
        let answer = try await tool.answer(makeCall(arguments: arguments))
        #expect(answer == #"{"params":{"name":"t","arguments":\#(arguments)}}"#)
        #expect(try await tool.answer(makeCall(arguments: nil)) == #"{"params":{"name":"t"}}"#)
        #expect(tool.route == "wasm")
    }

    @Test("A second-generation plug-in gets the request and its id", arguments: ["7", #""seven""#, "9007199254740993"])
    func echoV2(id: String) async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.echoV2)
        let answer = try await tool.answer(makeCall(arguments: #"{"x":1}"#, id: id))
        #expect(
            answer == #"{"request":{"name":"t","arguments":{"x":1}},"context":{"id":\#(id),"_meta":{}}}"#)
    }

    @Test("Definitions keep their spelling; members that are null are dropped")
    func definitions() async throws {
        let bench = Workbench()
        let tool = try #require(try await bench.load(Guest.echo).offers().tools.first)
        let expected =
            #"{"name":"t","description":"a tool","inputSchema":{"type":"object"},"annotations":{"weight":1.50}}"#
        #expect(tool.name == "t")
        #expect(String(decoding: tool.definition, as: UTF8.self) == expected)
        #expect(bench.sandbox.components().first?.status == .healthy)
        #expect(bench.sandbox.components().first?.detail == "1 module with 1 tool")
    }

    @Test("A tool of another name is unknown")
    func unknownTool() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.echo)
        await #expect(throws: CallFailure.unknownTool) { try await tool.call(makeCall("other")) }
    }

    @Test("Nothing of one call is there in the next")
    func freshness() async throws {
        let bench = Workbench(workers: 1)
        let tool = try await bench.load(
            Guest.v1(
                texts: ["key", "value"], globals: "(global $count (mut i32) (i32.const 0))",
                call: """
                    (global.set $count (i32.add (global.get $count) (i32.const 1)))
                    (if (i64.ne (call $var_get text(0)) (i64.const 0)) (then (unreachable)))
                    (call $var_set text(0) text(1))
                    (if (i64.eq (call $var_get text(0)) (i64.const 0)) (then (unreachable)))
                    (call $number (global.get $count)) (i32.const 0)
                    """))
        for _ in 0..<3 { #expect(try await tool.answer(makeCall()).filter { $0 != " " } == #"{"value":1}"#) }
    }

    @Test("A plug-in reads its settings and writes to the log")
    func configAndLog() async throws {
        let bench = Workbench()
        let tool = try await bench.load(
            Guest.v1(
                texts: ["greeting", "hello from the guest"],
                call: "(call $log_info text(1)) (call $put (call $config_get text(0))) (i32.const 0)")
        ) { $0.config = ["greeting": #"{"text":"good day"}"#] }
        #expect(try await tool.answer(makeCall()) == #"{"text":"good day"}"#)
        #expect(bench.log.contains("info: hello from the guest"))
    }

    @Test("A plug-in's own complaint is a result that says so")
    func complaint() async throws {
        let bench = Workbench()
        let tool = try await bench.load(
            Guest.v1(texts: [#"no "such" city"#], call: "(call $error_set text(0)) (i32.const 1)"))
        #expect(
            try await tool.answer(makeCall())
                == #"{"content":[{"type":"text","text":"no \"such\" city"}],"isError":true}"#)
    }

    @Test("An output that is no JSON object is garbage", arguments: ["[1]", "{", "plain", "{\"a\":1,\"a\":2}"])
    func garbage(text: String) async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.v1(texts: [text], call: "(call $put text(0)) (i32.const 0)"))
        do {
            _ = try await tool.call(makeCall())
            Issue.record("it was accepted")
        } catch CallFailure.garbage {}
    }

    @Test("No output at all is garbage")
    func silence() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.v1(call: "(i32.const 0)"))
        await #expect(throws: CallFailure.garbage(detail: "the tool returned no answer")) {
            try await tool.call(makeCall())
        }
    }

    @Test("hyper-mcp's host functions answer in the shape that plug-ins expect")
    func hostFunctions() async throws {
        let bench = Workbench()
        let user = #"(import "extism:host/user" "#
        let tool = try await bench.load(
            Guest.v1(
                texts: ["{}"],
                imports: """
                    \(user) "list_roots" (func $roots (result i64)))
                    \(user) "create_elicitation" (func $elicit (param i64) (result i64)))
                    \(user) "get_keyring_secret" (func $secret (param i64) (result i64)))
                    \(user) "notify_progress" (func $progress (param i64)))
                    \(user) "notify_tool_list_changed" (func $changed))
                    """,
                call: """
                    (call $progress text(0)) (call $changed) (drop (call $elicit text(0)))
                    (if (i64.ne (call $secret text(0)) (i64.const 0)) (then (unreachable)))
                    (call $put (call $roots)) (i32.const 0)
                    """))
        #expect(try await tool.answer(makeCall()) == #"{"roots":[]}"#)
    }

    @Test("Two hundred calls leave no memory behind", arguments: [true, false])
    func noGrowth(isPooled: Bool) async throws {
        let bench = Workbench(isPooled: isPooled)
        // Each call takes and touches four megabytes and drops a copy of its input in the arena.
        let tool = try await bench.load(
            Guest.v1(
                call: """
                    (drop (memory.grow (i32.const 64)))
                    (memory.fill (i32.const 131072) (i32.const 1) (i32.const 4194304))
                    (drop (call $alloc (i64.const 1000000)))
                    (call $output_set (call $input_offset) (call $input_length)) (i32.const 0)
                    """))
        for _ in 0..<20 { _ = try await tool.call(makeCall()) }
        let before = try residentBytes()
        for _ in 0..<200 { _ = try await tool.call(makeCall()) }
        bench.sandbox.releaseMemory()
        // Other tests run beside this one; a leak would be 800 MB.
        #expect(try residentBytes() < before + (200 << 20))
    }

    private func residentBytes() throws -> Int {
        let fields = try Files.contents("/proc/self/statm", bytesMax: 1_000).split(separator: UInt8(ascii: " "))
        return (Int(String(decoding: fields[1], as: UTF8.self)) ?? 0) * 4_096
    }
}

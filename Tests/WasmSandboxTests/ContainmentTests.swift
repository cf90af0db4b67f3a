// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import WasmSandbox

@Suite("What a guest may not do", .serialized, .enabled(if: Library.isThere, Library.hint), .timeLimit(.minutes(2)))
struct ContainmentTests {
    struct Misdeed: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var body: String
        var functions = ""
        var words: String
    }

    @Test(
        "A guest that breaks is stopped with words, and the next call is served",
        arguments: [
            Misdeed(testDescription: "unreachable", body: "(unreachable)", words: "gave up in the middle"),
            Misdeed(
                testDescription: "out of bounds", body: "(i32.load (i32.const -8))", words: "outside its own memory"),
            Misdeed(
                testDescription: "division by zero", body: "(i32.div_u (i32.const 1) (i32.const 0))",
                words: "division by zero"),
            Misdeed(
                testDescription: "deep recursion", body: "(call $deeper (i32.const 0))",
                functions: """
                    (func $deeper (param i32) (result i32)
                      (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
                    """, words: "too deeply"),
            Misdeed(
                testDescription: "memory bomb",
                body: """
                    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)
                    """, words: "8 MiB memory limit"),
            Misdeed(
                testDescription: "output too large",
                body: "(call $output_set (call $alloc (i64.const 65537)) (i64.const 65537)) (i32.const 0)",
                words: "larger than its limit of 64 KiB"),
            Misdeed(
                testDescription: "network",
                body: "(drop (call $http_request (i64.const 0) (i64.const 0))) (i32.const 0)",
                words: "no network grant"),
        ])
    func misdeed(_ misdeed: Misdeed) async throws {
        let bench = Workbench(workers: 1)
        // With no arguments the guest behaves.
        let tool = try await bench.load(
            Guest.v1(
                functions: misdeed.functions,
                call: """
                    (if (i64.lt_u (call $input_length) (i64.const 30)) (then
                      (call $number (i32.const 1)) (return (i32.const 0))))
                    \(misdeed.body)
                    """))
        for _ in 0..<2 {
            let words = try await tool.stop(makeCall(arguments: #"{"do":"it"}"#))
            #expect(words.contains(misdeed.words), "\(words)")
            #expect(try await tool.answer(makeCall(arguments: nil)).contains("1"))
        }
    }

    @Test("An endless loop is stopped at the module's own limit")
    func endlessLoop() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.spin) { $0.timeout = .milliseconds(50) }
        let words = try await tool.stop(makeCall())
        #expect(words.hasPrefix("timeout: the tool ran longer than its limit of 50 ms and was stopped"))
    }

    @Test("An endless loop ends with the call's deadline when that is nearer")
    func deadline() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.spin)
        do {
            _ = try await tool.call(makeCall(within: .milliseconds(40)))
            Issue.record("it was answered")
        } catch CallFailure.timedOut(_, let sent) { #expect(sent) }
    }

    @Test("A sleeper is woken by its deadline, with and without a clock", arguments: [true, false])
    func sleeper(clock: Bool) async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.sleep(60_000_000_000)) {
            $0.timeout = .milliseconds(50)
            $0.grants.clock = clock
        }
        if clock {
            #expect(try await tool.stop(makeCall()).contains("limit of 50 ms"))
        } else {
            // Not capable, at once.
            #expect(try await tool.answer(makeCall()).contains("76"))
        }
    }

    @Test("A short sleep within the limit is slept")
    func shortSleep() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.sleep(5_000_000)) { $0.grants.clock = true }
        let began = MonotonicTime().now()
        #expect(try await tool.answer(makeCall()).filter { $0 != " " } == #"{"value":0}"#)
        #expect(MonotonicTime().now().since(began) >= .milliseconds(5))
    }

    @Test("Arguments larger than the memory limit are refused with words")
    func largeInput() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.echo) { $0.memoryBytesMax = 128 << 10 }
        let arguments = #"{"x":"\#(String(repeating: "a", count: 200 << 10))"}"#
        #expect(try await tool.stop(makeCall(arguments: arguments)).contains("larger than what this tool may hold"))
    }

    // MARK: Grants

    private static let clock = "(call $clock (i32.const 0) (i64.const 1) (i32.const 512))"
    private static let random = "(call $random (i32.const 512) (i32.const 8))"
    private static let variables = "(drop (call $environ (i32.const 512) (i32.const 516))) (i32.load (i32.const 512))"
    private static let directory = "(call $prestat (i32.const 3) (i32.const 512))"

    @Test(
        "Clock, chance, environment and files are refused unless granted",
        arguments: [(clock, "76"), (random, "76"), (variables, "0"), (directory, "8")])
    func denied(body: String, answer: String) async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.wasi(body))
        #expect(try await tool.answer(makeCall()).filter { $0 != " " } == #"{"value":\#(answer)}"#)
    }

    @Test(
        "Clock, chance, environment and files work when granted",
        arguments: [(clock, "0"), (random, "0"), (variables, "2"), (directory, "0")])
    func granted(body: String, answer: String) async throws {
        let bench = Workbench()
        let data = "\(bench.scratch.path)/data"
        try Files.makePrivateDirectory(data)
        let tool = try await bench.load(Guest.wasi(body)) {
            $0.grants = ModuleGrants(
                environment: ["TZ": "UTC", "LANG": "C"],
                directories: [.init(guest: "/data", host: data, readOnly: true)], clock: true, random: true)
        }
        #expect(try await tool.answer(makeCall()).filter { $0 != " " } == #"{"value":\#(answer)}"#)
    }

    /// Opens a file beneath descriptor 3 and answers with the errno.
    private static func open(_ name: String, creating: Bool) -> String {
        let letters = name.utf8.enumerated().map { place, letter in
            "(i32.store8 (i32.const \(512 + place)) (i32.const \(letter)))"
        }
        return """
            (block (result i32)
              \(letters.joined())
              (call $open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const \(name.utf8.count))
                (i32.const \(creating ? 1 : 0)) (i64.const \(creating ? 64 : 2)) (i64.const 0) (i32.const 0)
                (i32.const 600)))
            """
    }

    @Test(
        "A granted directory gives what is in it and nothing else",
        arguments: [
            ("note.txt", false, true, true), ("note.txt", false, false, true), ("missing.txt", false, true, false),
            ("../module.wasm", false, true, false), ("link", false, true, false), ("new.txt", true, true, false),
            ("new.txt", true, false, true),
        ])
    func files(name: String, creating: Bool, readOnly: Bool, opens: Bool) async throws {
        let bench = Workbench()
        let data = "\(bench.scratch.path)/data"
        try Files.makePrivateDirectory(data)
        try Files.write(Array("hello".utf8), to: "\(data)/note.txt")
        #expect(unsafe symlink("/etc/passwd", "\(data)/link") == 0)
        defer { Files.remove("\(data)/link") }
        let tool = try await bench.load(Guest.wasi(Self.open(name, creating: creating))) {
            $0.grants.directories = [.init(guest: "/data", host: data, readOnly: readOnly)]
        }
        let answer = try await tool.answer(makeCall()).filter { $0 != " " }
        #expect((answer == #"{"value":0}"#) == opens, "\(answer)")
    }

    @Test("A granted directory that is not there is said in words")
    func missingDirectory() async throws {
        let bench = Workbench()
        await #expect(throws: SandboxError.self) {
            try await bench.load(Guest.wasi(Self.directory)) {
                $0.grants.directories = [.init(guest: "/data", host: "\(bench.scratch.path)/none", readOnly: true)]
            }
        }
        #expect(bench.sandbox.components().first?.detail.contains("/data cannot be opened") == true)
    }

    @Test("A guest that ends itself is told apart from one that answers")
    func exit() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.wasi("(block (result i32) (call $exit (i32.const 3)) (i32.const 0))"))
        #expect(try await tool.stop(makeCall()).contains("exit status 3"))
    }

    @Test("What a guest prints goes to the log and nowhere else")
    func printing() async throws {
        let bench = Workbench()
        let tool = try await bench.load(
            Guest.wasi(
                """
                (block (result i32)
                  (i32.store (i32.const 512) (i32.const 520)) (i32.store (i32.const 516) (i32.const 5))
                  (i64.store (i32.const 520) (i64.const 0x6f6c6c6568))
                  (call $write (i32.const 2) (i32.const 512) (i32.const 1) (i32.const 600)))
                """))
        #expect(try await tool.answer(makeCall()).filter { $0 != " " } == #"{"value":0}"#)
        #expect(bench.log.contains("text=hello"))
    }
}

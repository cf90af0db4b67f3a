// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import WasmSandbox

@Suite("Loading modules", .serialized, .enabled(if: Library.isThere, Library.hint), .timeLimit(.minutes(2)))
struct LoadTests {
    private func failure(_ bench: Workbench, _ settings: ModuleSettings) async throws -> SandboxError {
        do throws(SandboxError) {
            _ = try await bench.sandbox.load(settings)
        } catch { return error }
        throw Files.Problem(text: "it was loaded")
    }

    @Test("A missing import is named")
    func missingImport() async throws {
        let bench = Workbench()
        let wat = #"(module (import "env" "launch" (func)) (func (export "call")) (func (export "describe")))"#
        let path = try bench.scratch.put("m.wasm", assemble(wat))
        let error = try await failure(bench, ModuleSettings(name: "m", path: path))
        #expect(error == .missingImport("env . launch"))
        #expect(bench.sandbox.components().first?.status == .degraded)
        #expect(bench.sandbox.components().first?.detail.contains("env . launch") == true)
        bench.sandbox.forget("m")
        #expect(bench.sandbox.components().first?.status == .healthy)
    }

    @Test("An import of the wrong type is refused at load")
    func wrongType() async throws {
        let bench = Workbench()
        let wat = """
            (module (import "extism:host/env" "alloc" (func (param i32))) (func (export "call"))
              (func (export "describe")))
            """
        let path = try bench.scratch.put("m.wasm", assemble(wat))
        guard case .missingImport = try await failure(bench, ModuleSettings(name: "m", path: path)) else {
            Issue.record("another reason")
            return
        }
    }

    @Test("A file that is no module is refused, and so is one that only begins like one")
    func junk() async throws {
        let bench = Workbench()
        let junk = try bench.scratch.put("junk.wasm", Array("this is no module".utf8))
        #expect(
            try await failure(bench, ModuleSettings(name: "j", path: junk))
                == .notAModule("The file \(junk) is no WebAssembly."))
        let magic: [UInt8] = [0, 0x61, 0x73, 0x6d]
        let component = try bench.scratch.put("c.wasm", magic + [0x0d, 0, 1, 0])
        let isNamed = try await failure(bench, ModuleSettings(name: "c", path: component)).text.contains("component")
        #expect(isNamed)
        let cut = try bench.scratch.put("cut.wasm", magic + [1, 0, 0, 0, 1, 200])
        guard case .compileFailed = try await failure(bench, ModuleSettings(name: "cut", path: cut)) else {
            Issue.record("another reason")
            return
        }
        guard case .unreadable = try await failure(bench, ModuleSettings(name: "none", path: junk + "x")) else {
            Issue.record("another reason")
            return
        }
    }

    @Test("A module without tools says what it lacks")
    func noTools() async throws {
        let bench = Workbench()
        let path = try bench.scratch.put("m.wasm", assemble("(module)"))
        guard case .noTools(let why) = try await failure(bench, ModuleSettings(name: "m", path: path)) else {
            Issue.record("another reason")
            return
        }
        #expect(why.contains("'call' and 'describe'"))
    }

    @Test("The digest in the configuration is kept to")
    func digest() async throws {
        let bench = Workbench()
        let bytes = try assemble(Guest.echo)
        let right = Files.digest(of: bytes)
        _ = try await bench.load(Guest.echo) { $0.sha256 = right.uppercased() }
        let wrong = String(repeating: "0", count: 64)
        await #expect(throws: SandboxError.wrongDigest(expected: wrong, found: right)) {
            try await bench.load(Guest.echo) { $0.sha256 = wrong }
        }
    }

    @Test("A module is compiled once, into files that only we can read")
    func cache() async throws {
        let bench = Workbench()
        _ = try await bench.load(Guest.echo)
        let before = Files.list(bench.scratch.cache)
        #expect(bench.scratch.cacheFiles(".cwasm").count == 1)
        _ = try await bench.load(Guest.echo)
        #expect(Files.list(bench.scratch.cache).map(\.name).sorted() == before.map(\.name).sorted())
        var status = stat()
        #expect(unsafe stat(bench.scratch.cache, &status) == 0 && status.st_mode & 0o777 == 0o700)
        let file = "\(bench.scratch.cache)/\(bench.scratch.cacheFiles(".cwasm")[0])"
        #expect(unsafe stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test("A flipped byte in compiled code is found before the code is used")
    func flippedByte() async throws {
        let bench = Workbench()
        _ = try await bench.load(Guest.echo)
        let name = try #require(bench.scratch.cacheFiles(".cwasm").first)
        let file = "\(bench.scratch.cache)/\(name)"
        var bytes = try Files.contents(file, bytesMax: 1 << 30)
        bytes[bytes.count / 2] ^= 1
        // Not in place: the first load still has the file mapped.
        Files.remove(file)
        try Files.write(bytes, to: file)
        let tool = try await bench.load(Guest.echo)
        #expect(try await tool.answer(makeCall(arguments: nil)) == #"{"params":{"name":"t"}}"#)
        #expect(bench.scratch.cacheFiles(".corrupt") == ["\(name).corrupt"])
        #expect(bench.log.contains("damaged on disk"))
    }

    @Test("Code that the library will not have is compiled again, though its digest is right")
    func foreignCode() async throws {
        let bench = Workbench()
        _ = try await bench.load(Guest.echo)
        let name = try #require(bench.scratch.cacheFiles(".cwasm").first)
        let file = "\(bench.scratch.cache)/\(name)"
        let foreign = Array("code of another version".utf8)
        Files.remove(file)
        try Files.write(foreign, to: file)
        try Files.write(Array(Files.digest(of: foreign).utf8), to: file + ".sum")
        _ = try await bench.load(Guest.echo)
        #expect(bench.scratch.cacheFiles(".corrupt") == ["\(name).corrupt"])
    }

    @Test("Without the library nothing is loaded, and it is said")
    func libraryMissing() async throws {
        let bench = Workbench(library: "/nowhere/libwasmtime.so")
        let status = try #require(bench.sandbox.components().first)
        #expect(status.status == .degraded)
        #expect(!status.isVital)
        #expect(status.detail.contains("WebAssembly runtime is missing"))
        let path = try bench.scratch.put("m.wasm", assemble(Guest.echo))
        guard case .runtimeMissing = try await failure(bench, ModuleSettings(name: "m", path: path)) else {
            Issue.record("another reason")
            return
        }
    }

    // MARK: The child

    @Test("A compiler that hangs is ended")
    func hangingCompiler() async throws {
        let bench = Workbench(compileCommand: ["/bin/sh", "-c", "sleep 60"], compileTimeout: .milliseconds(100))
        do {
            _ = try await bench.load(Guest.echo)
            Issue.record("it was loaded")
        } catch SandboxError.compileFailed(let why) { #expect(why.contains("longer than 100 ms")) }
    }

    @Test(
        "A compiler that fails is quoted",
        arguments: [
            ("echo the roof is leaking >&2; exit 3", "the roof is leaking"), ("kill -9 $$", "ended by a signal"),
            ("exit 0", "no sound file"),
        ])
    func failingCompiler(script: String, words: String) async throws {
        let bench = Workbench(compileCommand: ["/bin/sh", "-c", script])
        do {
            _ = try await bench.load(Guest.echo)
            Issue.record("it was loaded")
        } catch SandboxError.compileFailed(let why) { #expect(why.contains(words), "\(why)") }
    }

    @Test("The compile child refuses arguments that are not from the gateway")
    func childArguments() {
        #expect(CompileChild.run(arguments: []) == 64)
        #expect(CompileChild.run(arguments: ["a", "b", "c", "d", "e", "f", "g"]) == 64)
    }

    /// The gateway's executable, built beside the tests.
    static let executable: String = {
        var place = [CChar](repeating: 0, count: 4_096)
        _ = unsafe readlink("/proc/self/exe", &place, place.count - 1)
        let folder = string(place).split(separator: "/").dropLast().joined(separator: "/")
        return "/\(folder)/mcp-gateway"
    }()

    @Test("The gateway's own executable compiles as a child", .enabled(if: Files.exists(executable)))
    func child() async throws {
        let bench = Workbench(compileCommand: [Self.executable])
        let tool = try await bench.load(Guest.echo)
        #expect(try await tool.answer(makeCall(arguments: nil)) == #"{"params":{"name":"t"}}"#)
        #expect(bench.scratch.cacheFiles(".new").isEmpty)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing
import WasmSandbox

@testable import GatewayDaemon

/// Which modules a reload loads, and which it leaves alone. Here the runtime is missing, so that whatever is loaded
/// fails: what does not fail was not loaded.
@Suite struct ModuleShelfTests {
    /// A folder with modules of one byte or more, which is gone with the test.
    private final class Folder {
        let path: String

        init() {
            var template = Array("/tmp/shelf-test-XXXXXX".utf8CString)
            path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
        }

        deinit {
            for name in ["units", "text", "fresh"] { unlink("\(path)/\(name).wasm") }
            rmdir(path)
        }

        func write(_ name: String, _ bytes: Int) {
            let file = open("\(path)/\(name).wasm", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            defer { close(file) }
            #expect(ftruncate(file, off_t(bytes)) == 0)
        }

        func settings(_ name: String, memory: Int = 1 << 20) -> ToolSettings {
            ToolSettings(
                name: name, prefix: name, modulePath: "\(path)/\(name).wasm", memoryBytesMax: memory,
                timeout: .seconds(1), outputBytesMax: 1 << 20, config: [], allowedEnvironment: [], directories: [],
                allowsClock: false, allowsRandom: false)
        }
    }

    private let folder = Folder()
    private let sandbox: Sandbox
    private let shelf: ModuleShelf

    init() throws {
        sandbox = Sandbox(
            settings: SandboxSettings(
                libraryPaths: ["/nonexistent/libwasmtime.so"], cacheDirectory: folder.path + "/cache",
                compileCommand: []), time: SystemTime(), report: { _, _, _ in })
        shelf = ModuleShelf(
            sandbox: sandbox, environment: [:], logs: try LogFiles(LogSettings(directory: nil), time: SystemTime()))
        for name in ["units", "text"] { folder.write(name, 1) }
    }

    private var both: [ToolSettings] { [folder.settings("units"), folder.settings("text")] }
    private var health: String { sandbox.components().map(\.detail).joined() }

    /// In words why it cannot be had; nil when everything is there already.
    private func refusal(_ tools: [ToolSettings]) async -> String? {
        do throws(ReloadFailure) {
            _ = try await shelf.prepare(tools)
            return nil
        } catch {
            return error.words
        }
    }

    @Test func `at the start what cannot be loaded is left out, and health says which`() async {
        await shelf.loadAll(both)
        #expect(shelf.module("units") == nil && shelf.module("none") == nil)
        #expect(health.contains("units: ") && health.contains("text: "))
    }

    @Test func `what is the same is not loaded again`() async throws {
        await shelf.loadAll(both)
        #expect(await refusal(both) == nil)
        #expect(await refusal(both.reversed()) == nil)
        #expect(await refusal([both[1]]) == nil)
        let prepared = try await shelf.prepare(both)
        #expect(Set(prepared.keys) == ["units", "text"])
    }

    @Test func `another file, other settings and another name are loaded, and a failure names the module`() async {
        await shelf.loadAll(both)
        let missing = "The WebAssembly runtime is missing"
        let larger = folder.settings("units", memory: 2 << 20)
        #expect(await refusal([larger])?.hasPrefix("tools.units: \(missing)") == true)
        folder.write("text", 2)
        #expect(await refusal(both)?.hasPrefix("tools.text: \(missing)") == true)
        folder.write("fresh", 1)
        #expect(await refusal([folder.settings("fresh")])?.hasPrefix("tools.fresh: \(missing)") == true)
    }

    @Test func `a file that was replaced is named, one whose settings differ too is not`() async {
        await shelf.loadAll(both)
        #expect(shelf.replaced(both) == [])
        folder.write("units", 7)
        #expect(shelf.replaced(both) == ["units"])
        #expect(shelf.replaced([folder.settings("units", memory: 2 << 20), both[1]]) == [])
        #expect(shelf.replaced([folder.settings("fresh")]) == [])
        unlink("\(folder.path)/text.wasm")
        #expect(shelf.replaced(both) == ["units", "text"])
    }

    @Test func `a refused reload leaves everything as it was, also in health`() async {
        await shelf.loadAll([both[0]])
        let before = health
        folder.write("units", 7)
        folder.write("fresh", 1)
        #expect(await refusal([both[0]]) != nil)
        #expect(await refusal([folder.settings("fresh")]) != nil)
        #expect(health == before)
        #expect(shelf.replaced(both) == ["units"])
    }

    @Test func `what is gone is forgotten, once the new ones are adopted`() async throws {
        await shelf.loadAll(both)
        let prepared = try await shelf.prepare([both[1]])
        #expect(health.contains("units: "))
        shelf.adopt(prepared)
        #expect(!health.contains("units: ") && health.contains("text: "))
        shelf.adopt([:])
        #expect(!health.contains("text: "))
    }

    @Test func `files are told apart by more than their names`() {
        let path = folder.path + "/units.wasm"
        let mark = ModuleShelf.FileMark(of: path)
        #expect(mark == ModuleShelf.FileMark(of: path))
        #expect(mark != ModuleShelf.FileMark(of: folder.path + "/text.wasm"))
        folder.write("units", 2)
        #expect(mark != ModuleShelf.FileMark(of: path))
        let changed = ModuleShelf.FileMark(of: path)
        // The same length, put in its place by a rename.
        folder.write("fresh", 2)
        #expect(rename(folder.path + "/fresh.wasm", path) == 0)
        #expect(changed != ModuleShelf.FileMark(of: path))
        let missing = ModuleShelf.FileMark(of: folder.path + "/fresh.wasm")
        #expect(missing == ModuleShelf.FileMark(of: "/nonexistent/file") && missing != changed)
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import CWasmtime
import GatewayCore
import Glibc
import MCPWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import WasmSandbox

/// Where the tests find the runtime library; without it they are skipped.
enum Library {
    static let path: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/vendor/lib/libwasmtime.so"
    }()
    static let isThere = Files.exists(path)
    static let hint: Comment = "needs vendor/lib/libwasmtime.so; run `make setup`"
}

struct MonotonicTime: TimeSource {
    func now() -> Moment { Moment(nanoseconds: cwasm_monotonic()) }
    func wallMilliseconds() -> Int64 { 0 }
}

/// A directory that goes away with the test.
final class Scratch: Sendable {
    let path: String

    init() {
        var template = Array("\(P_tmpdir)/wasm-sandbox-XXXXXX".utf8CString)
        let made = unsafe mkdtemp(&template)
        precondition(unsafe made != nil)
        path = string(template)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        for entry in Files.list(path) { Files.remove("\(path)/\(entry.name)") }
        for inner in ["cache", "data"] where Files.exists("\(path)/\(inner)") { remove("\(path)/\(inner)") }
        _ = unsafe rmdir(path)
    }

    func put(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = "\(path)/\(name)"
        try Files.write(bytes, to: file)
        return file
    }

    var cache: String { "\(path)/cache" }

    func cacheFiles(_ suffix: String) -> [String] {
        Files.list(cache).map(\.name).filter { $0.hasSuffix(suffix) }.sorted()
    }
}

/// A sandbox of its own for each test, and what it logged.
final class Workbench: Sendable {
    let scratch = Scratch()
    let sandbox: Sandbox
    private let lines: Lines

    final class Lines: Sendable {
        private let all = Mutex<[String]>([])
        func add(_ line: String) { all.withLock { $0.append(line) } }
        var text: String { all.withLock { $0.joined(separator: "\n") } }
    }

    init(
        workers: Int = 2, waitingMax: Int = 16, compileCommand: [String] = [], library: String = Library.path,
        compileTimeout: Duration = .seconds(60), isPooled: Bool = true
    ) {
        let lines = Lines()
        self.lines = lines
        sandbox = Sandbox(
            settings: SandboxSettings(
                libraryPaths: [library], cacheDirectory: scratch.cache, compileCommand: compileCommand,
                workers: workers, waitingMax: waitingMax, compileTimeout: compileTimeout, keepsMemoriesReady: isPooled),
            time: MonotonicTime()
        ) { _, message, facts in
            lines.add("\(message) \(facts.map { "\($0.key)=\($0.value)" }.joined(separator: " "))")
        }
    }

    deinit { sandbox.shutdown() }

    var log: String { lines.text }

    /// Writes the text as a module and loads it.
    func load(_ wat: String, _ change: (inout ModuleSettings) -> Void = { _ in }) async throws -> WasmModule {
        let path = try scratch.put("module.wasm", try assemble(wat))
        var settings = ModuleSettings(
            name: "bench", path: path, memoryBytesMax: 8 << 20, timeout: .seconds(20), outputBytesMax: 64 << 10)
        change(&settings)
        return try await sandbox.load(settings)
    }
}

/// WebAssembly text to bytes, by the library itself.
func assemble(_ wat: String) throws -> [UInt8] {
    _ = try Engine.loadLibrary([Library.path])
    var out = unsafe wasm_byte_vec_t(size: 0, data: nil)
    let text = Array(wat.utf8CString)
    if let problem = unsafe wasmtime_wat2wasm(text, text.count - 1, &out) {
        throw Files.Problem(text: unsafe takeMessage(error: problem))
    }
    defer { unsafe wasm_byte_vec_delete(&out) }
    return unsafe Array(UnsafeBufferPointer(start: out.data, count: out.size))
}

func makeCall(
    _ tool: String = "t", arguments: String? = "{}", id: String = "7", within: Duration = .seconds(60)
) throws -> RoutedCall {
    let tail = arguments.map { #","arguments":\#($0)"# } ?? ""
    let text = #"{"jsonrpc":"2.0","id":\#(id),"method":"tools/call","params":{"name":"x"\#(tail)}}"#
    let bytes = ByteBuffer(string: text)
    let message = try MessageParser.parse(bytes.readableBytesUInt8Span, limits: WireLimits())
    return RoutedCall(
        target: tool, bytes: bytes, message: message, caller: .anonymous, requestID: .random(),
        deadline: Deadline(MonotonicTime().now() + within), loop: MultiThreadedEventLoopGroup.singleton.any())
}

extension WasmModule {
    /// The text of the result, or of the failure.
    func answer(_ call: RoutedCall) async throws -> String {
        switch try await self.call(call) {
        case .result(let payload), .protocolError(let payload), .inputRequired(let payload), .task(let payload):
            // What these guests give back holds no `content`, and the protocol's empty one is put before it.
            let text = String(buffer: payload.bytes)
            let added = #"{"content":[],"#
            return text.hasPrefix(added) ? "{" + text.dropFirst(added.count) : text
        }
    }

    /// The words with which a call was stopped; records an issue when it was not.
    func stop(_ call: RoutedCall) async throws -> String {
        do throws(CallFailure) {
            let reply = try await self.call(call)
            Issue.record("the call was answered: \(reply)")
        } catch {
            if case .stopped(let detail) = error { return detail }
            Issue.record("the call failed otherwise: \(error)")
        }
        return ""
    }
}

/// Waits for a condition of the real world, with a deadline.
func eventually(_ what: Comment, _ condition: () -> Bool) async {
    let end = MonotonicTime().now() + .seconds(20)
    while !condition() {
        if MonotonicTime().now() >= end {
            Issue.record(what)
            return
        }
        await Task.yield()
    }
}

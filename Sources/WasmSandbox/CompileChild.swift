// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime
internal import Glibc

/// Compiling is seconds of work and hundreds of megabytes, on input that may be hostile; so it is done by a short-lived
/// child: the gateway's own executable under another name.
package enum CompileChild {
    /// `argv[0]` of the child, and the name it takes.
    package static let processName = "mcpgw-compile"

    /// What the executable runs when its `argv[0]` is `processName`; `arguments` are the ones after that. Takes its
    /// limits first, then compiles one file. Returns the exit code; the reason of a failure goes to standard error in
    /// words.
    package static func run(arguments: [String]) -> Int32 {
        guard let order = Order(arguments) else {
            complain("wrong arguments; this program is started by the gateway only")
            return 64
        }
        let limited = unsafe cwasm_become_child(
            processName, UInt64(order.memoryBytesMax), UInt64(order.cpuSecondsMax))
        guard limited else {
            complain("the limits of memory and time could not be set")
            return 1
        }
        do throws(SandboxError) {
            _ = try Engine.loadLibrary([order.library])
            let engine = Engine(profile: order.profile, slots: nil)
            try compile(order.input, digest: order.digest, to: order.output, engine: engine)
            return 0
        } catch {
            if case .compileFailed(let why) = error { complain(why) } else { complain(error.text) }
            return 1
        }
    }

    /// Compiles the file if it is still the one that was approved, and leaves the code and its digest in `output` and
    /// `output.sum`.
    static func compile(_ input: String, digest: String, to output: String, engine: Engine) throws(SandboxError) {
        let wasm: [UInt8]
        do { wasm = try Files.contents(input, bytesMax: CompileCache.moduleBytesMax) } catch {
            throw .unreadable(error.text)
        }
        guard Files.digest(of: wasm) == digest else {
            throw .compileFailed("the file changed while it was being loaded")
        }
        let code = try engine.compile(wasm)
        do {
            try Files.write(code, to: output)
            try Files.write(Array(Files.digest(of: code).utf8), to: output + ".sum")
        } catch { throw .cacheUnusable(error.text) }
    }

    private static func complain(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
    }

    /// The child's whole input.
    struct Order {
        var library: String
        var profile: EngineProfile
        var memoryBytesMax: Int
        var cpuSecondsMax: Int
        var digest: String
        var input: String
        var output: String

        init(
            library: String, profile: EngineProfile, memoryBytesMax: Int, cpuSecondsMax: Int, digest: String,
            input: String, output: String
        ) {
            self.library = library
            self.profile = profile
            self.memoryBytesMax = memoryBytesMax
            self.cpuSecondsMax = cpuSecondsMax
            self.digest = digest
            self.input = input
            self.output = output
        }

        init?(_ arguments: [String]) {
            guard arguments.count == 7, let profile = EngineProfile(rawValue: arguments[1]),
                let memory = Int(arguments[2]), let cpu = Int(arguments[3]), memory > 0, cpu > 0
            else { return nil }
            self.init(
                library: arguments[0], profile: profile, memoryBytesMax: memory, cpuSecondsMax: cpu,
                digest: arguments[4], input: arguments[5], output: arguments[6])
        }

        var arguments: [String] {
            [library, profile.rawValue, "\(memoryBytesMax)", "\(cpuSecondsMax)", digest, input, output]
        }
    }
}

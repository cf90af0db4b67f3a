// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime
internal import GatewayCore
internal import Glibc

/// Compiled modules on disk. A compiled module is native code that the library maps and runs without looking, so it is
/// used only from a directory of our own and only after its digest has been found right.
struct CompileCache {
    let directory: String
    /// Where the runtime library is, for the compile child.
    let library: String
    let profile: EngineProfile
    let settings: SandboxSettings
    let report: SandboxReport

    /// Modules larger than this are refused.
    static let moduleBytesMax = 256 << 20
    static let compiledBytesMax = 1 << 30
    private static let entriesMax = 128

    private func problem(_ error: Files.Problem) -> SandboxError { .cacheUnusable(error.text) }

    /// The path of the compiled form of the module with this digest, compiled now if need be.
    func compiled(
        _ wasm: String, digest: String, engine: Engine, flag: CancelFlag
    ) throws(SandboxError) -> (path: String, isNew: Bool) {
        do { try Files.makePrivateDirectory(directory) } catch { throw problem(error) }
        let key = Files.digest(of: Array("\(digest)\n\(Engine.fingerprint(profile))".utf8))
        let path = "\(directory)/\(key).cwasm"
        if isSound(path) { return (path, false) }
        let draft = "\(path).\(getpid()).new"
        defer {
            Files.remove(draft)
            Files.remove(draft + ".sum")
        }
        if settings.compileCommand.isEmpty {
            try CompileChild.compile(wasm, digest: digest, to: draft, engine: engine)
        } else {
            try compileInChild(wasm, digest: digest, to: draft, flag: flag)
        }
        guard isRight(draft) else { throw .compileFailed("the compiler left no sound file behind") }
        do {
            // The code first: a digest without code is no entry, and code without a digest is compiled again.
            try Files.rename(draft, to: path)
            try Files.rename(draft + ".sum", to: path + ".sum")
        } catch { throw problem(error) }
        Files.syncDirectory(directory)
        prune(keeping: path)
        return (path, true)
    }

    /// Takes an entry out that proved bad, and leaves it for people to look at.
    func quarantine(_ path: String) {
        Files.remove(path + ".sum")
        do { try Files.rename(path, to: path + ".corrupt") } catch { Files.remove(path) }
        report(
            .warning, "a compiled module was damaged on disk; it was set aside and is compiled again",
            [("file", path + ".corrupt")])
    }

    private func isRight(_ path: String) -> Bool {
        // Whatever is wrong with either file, the answer is the same: it is not used.
        guard let wanted = try? Files.contents(path + ".sum", bytesMax: 200),
            let found = try? Files.digest(path, bytesMax: Self.compiledBytesMax)
        else { return false }
        return Array(found.hex.utf8) == wanted
    }

    private func isSound(_ path: String) -> Bool {
        guard Files.exists(path), Files.exists(path + ".sum") else { return false }
        if isRight(path) { return true }
        quarantine(path)
        return false
    }

    private func compileInChild(
        _ wasm: String, digest: String, to draft: String, flag: CancelFlag
    ) throws(SandboxError) {
        let milliseconds = UInt64(max(1, settings.compileTimeout.milliseconds))
        let words =
            [CompileChild.processName] + settings.compileCommand.dropFirst()
            + CompileChild.Order(
                library: library, profile: profile, memoryBytesMax: settings.compileMemoryBytesMax,
                cpuSecondsMax: Int(milliseconds / 1_000) + 1, digest: digest, input: wasm, output: draft
            ).arguments
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) }
        unsafe arguments.append(nil)
        defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
        var text = [CChar](repeating: 0, count: 1_000)
        let end = unsafe cwasm_run_child(
            settings.compileCommand[0], arguments, milliseconds, flag.raw, &text, text.count)
        let said = oneLine(string(text))
        switch end {
        case CWASM_CHILD_DONE: return
        case CWASM_CHILD_REFUSED: throw .compileFailed(said.isEmpty ? "the compiler gave no reason" : said)
        case CWASM_CHILD_OVERRAN:
            if flag.isRaised { throw .stopped }
            throw .compileFailed(
                "it took longer than \(Words.time(settings.compileTimeout)); make the module smaller or allow more")
        case CWASM_CHILD_KILLED:
            throw .compileFailed(
                "the compiler was ended by a signal, most likely at its limit of "
                    + "\(Words.bytes(settings.compileMemoryBytesMax)) of memory or of processor time")
        default: throw .compileFailed(said)
        }
    }

    /// Keeps the directory from growing with every version of every tool.
    private func prune(keeping path: String) {
        let entries = Files.list(directory).filter { $0.name.hasSuffix(".cwasm") }.sorted { $0.changed < $1.changed }
        for entry in entries.dropLast(Self.entriesMax) where "\(directory)/\(entry.name)" != path {
            Files.remove("\(directory)/\(entry.name).sum")
            Files.remove("\(directory)/\(entry.name)")
        }
    }
}

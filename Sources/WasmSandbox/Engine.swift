// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime

/// How compiled code expects linear memories to lie in the address space. Code of one profile does not run in the
/// other.
enum EngineProfile: String {
    /// 4 GiB of address space per memory: no bounds checks in compiled code.
    case roomy
    /// 64 MiB of address space per memory; some 15 % slower loops. For machines that limit address space.
    case small
}

/// The runtime's engine. It, modules and linkers may be used by any thread at any time, as the library promises; stores
/// may not, and live inside one run.
@safe final class Engine: @unchecked Sendable {
    let raw: OpaquePointer
    let profile: EngineProfile

    /// The stack a guest may use. The threads that run guests have four times as much, because the library's own code
    /// and ours run on the same stack.
    static let guestStackBytes = 1 << 20
    static let threadStackBytes = 4 << 20

    /// Names everything besides the module itself that compiled code depends on.
    static func fingerprint(_ profile: EngineProfile) -> String {
        var text = [CChar](repeating: 0, count: 160)
        unsafe cwasm_cpu(&text, text.count)
        return "wasmtime 50.0.1; 1; \(profile.rawValue); \(string(text))"
    }

    /// Loads the library from the first path that has it, and tells which that was.
    static func loadLibrary(_ paths: [String]) throws(SandboxError) -> String {
        var reasons: [String] = []
        for path in paths {
            var text = [CChar](repeating: 0, count: 400)
            if unsafe cwasmtime_load(path, &text, text.count) { return path }
            reasons.append(string(text))
        }
        let reason = reasons.isEmpty ? "no place to look for it is configured" : reasons.joined(separator: "; ")
        throw .runtimeMissing(reason)
    }

    /// The profile this process can have. Asked first, because the library ends the process when its pool does not fit.
    static func bestProfile(slots: Int) -> EngineProfile {
        cwasm_can_reserve(UInt64(slots) << 34) ? .roomy : .small
    }

    /// `slots` memories are kept ready; nil makes and unmakes each.
    init(profile: EngineProfile, slots: Int?) {
        self.profile = profile
        let configuration = unsafe wasm_config_new()
        unsafe wasmtime_config_epoch_interruption_set(configuration, true)
        unsafe wasmtime_config_max_wasm_stack_set(configuration, Self.guestStackBytes)
        unsafe wasmtime_config_wasm_threads_set(configuration, false)
        unsafe wasmtime_config_wasm_memory64_set(configuration, false)
        unsafe wasmtime_config_wasm_multi_memory_set(configuration, false)
        unsafe wasmtime_config_cranelift_opt_level_set(configuration, 1)
        unsafe wasmtime_config_parallel_compilation_set(configuration, false)
        if profile == .small {
            unsafe wasmtime_config_memory_reservation_set(configuration, 64 << 20)
            unsafe wasmtime_config_memory_reservation_for_growth_set(configuration, 1 << 20)
            unsafe wasmtime_config_memory_guard_size_set(configuration, 64 << 10)
        }
        if let slots, profile == .roomy { unsafe Self.pool(configuration!, slots: UInt32(slots)) }
        // The library takes the configuration over and has no way to refuse it.
        unsafe raw = wasm_engine_new_with_config(configuration)
    }

    deinit { unsafe wasm_engine_delete(raw) }

    private static func pool(_ configuration: OpaquePointer, slots: UInt32) {
        let pool = unsafe wasmtime_pooling_allocation_config_new()
        unsafe wasmtime_pooling_allocation_config_total_core_instances_set(pool, slots)
        unsafe wasmtime_pooling_allocation_config_total_memories_set(pool, slots)
        unsafe wasmtime_pooling_allocation_config_total_tables_set(pool, slots * 4)
        // Whatever is pooled takes address space for as many as there may be; these three have nothing to do here, and
        // a thousand garbage-collected heaps would be four terabytes.
        unsafe wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, slots)
        unsafe wasmtime_pooling_allocation_config_total_stacks_set(pool, 1)
        unsafe wasmtime_pooling_allocation_config_total_component_instances_set(pool, 1)
        unsafe wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, 4)
        unsafe wasmtime_pooling_allocation_config_table_elements_set(pool, StoreLimits.tableElements)
        unsafe wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, slots)
        unsafe wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, 256 << 10)
        unsafe wasmtime_pooling_allocation_config_table_keep_resident_set(pool, 16 << 10)
        unsafe wasmtime_pooling_allocation_strategy_set(configuration, pool)
        unsafe wasmtime_pooling_allocation_config_delete(pool)
    }

    /// Moves the epoch on; every running guest looks at its deadline soon after.
    func tick() { unsafe wasmtime_engine_increment_epoch(raw) }

    /// The compiled form of a module. Seconds and hundreds of megabytes for large ones.
    func compile(_ wasm: [UInt8]) throws(SandboxError) -> [UInt8] {
        var module: OpaquePointer?
        let problem = unsafe wasm.withUnsafeBufferPointer { bytes in
            unsafe wasmtime_module_new(raw, bytes.baseAddress, bytes.count, &module)
        }
        if let problem = unsafe problem { throw .compileFailed(unsafe takeMessage(error: problem)) }
        defer { unsafe wasmtime_module_delete(module) }
        var out = unsafe wasm_byte_vec_t(size: 0, data: nil)
        if let problem = unsafe wasmtime_module_serialize(module, &out) {
            throw .compileFailed(unsafe takeMessage(error: problem))
        }
        defer { unsafe wasm_byte_vec_delete(&out) }
        return unsafe Array(UnsafeBufferPointer(start: out.data, count: out.size))
    }
}

enum StoreLimits {
    static let tableElements = 100_000
}

/// The text in a C buffer that ends with a zero.
func string(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The first line of an error of the library, which is consumed.
@unsafe func takeMessage(error: OpaquePointer) -> String {
    var text = unsafe wasm_byte_vec_t(size: 0, data: nil)
    unsafe wasmtime_error_message(error, &text)
    unsafe wasmtime_error_delete(error)
    defer { unsafe wasm_byte_vec_delete(&text) }
    return unsafe oneLine(String(decoding: UnsafeBufferPointer(start: text.data, count: text.size), as: UTF8.self))
}

/// Joins the lines of the library's messages, which nest causes by lines, and bounds them.
func oneLine(_ text: String) -> String {
    let lines = text.split(whereSeparator: { $0.isNewline || $0 == "\0" })
    let words = lines.map { line in line.drop { $0 == " " } }.filter { $0 != "Caused by:" }
    return String(words.joined(separator: ": ").prefix(300))
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime
internal import GatewayCore
internal import NIOCore

/// How one run of a guest ended.
enum GuestOutcome: Sendable {
    case output(ByteBuffer)
    /// The guest says itself that it could not do it.
    case complaint(String)
    /// It was stopped, or stopped itself without an answer; the words are fit for a model.
    case stopped(String)
    case overTime
    case cancelled
}

/// The bytes a guest is given, in up to three pieces, so that a client's arguments are copied only once.
struct GuestInput: Sendable {
    var head: [UInt8] = []
    var body: ByteBuffer?
    var tail: [UInt8] = []

    var count: Int { head.count + (body?.readableBytes ?? 0) + tail.count }
}

/// A store: everything that one run makes. Deleted when it goes out of scope, whatever happened in it.
@safe struct Store: ~Copyable {
    let raw: OpaquePointer
    let context: OpaquePointer

    /// The only way to get a store: limited, interruptible, and knowing whose it is.
    init(engine: Engine, seat: Seat, memoryBytesMax: Int) {
        unsafe raw = wasmtime_store_new(engine.raw, UnsafeMutableRawPointer(seat.raw), nil)
        unsafe context = wasmtime_store_context(raw)
        unsafe wasmtime_store_limiter(raw, Int64(memoryBytesMax), Int64(StoreLimits.tableElements), 1, 4, 1)
        unsafe wasmtime_store_epoch_deadline_callback(
            raw, { unsafe cwasm_guest_epoch($0, $1, $2, $3) }, UnsafeMutableRawPointer(seat.raw), nil)
        unsafe wasmtime_context_set_epoch_deadline(context, 1)
    }

    deinit { unsafe wasmtime_store_delete(raw) }
}

/// One call of one export in a fresh instance, on the thread that asks for it.
struct GuestRun {
    let module: GuestModule
    let export: String
    let flag: CancelFlag
    let timeLeft: Duration

    /// Blocks until the guest is done, at most `timeLeft`. Also returns what it logged.
    func perform(_ input: GuestInput, in seat: Seat) -> (outcome: GuestOutcome, log: String) {
        let settings = module.settings
        var run = unsafe cwasm_run_t(
            arena_bytes_max: UInt64(settings.memoryBytesMax), output_bytes_max: UInt64(settings.outputBytesMax),
            config: module.config, flag: flag.raw,
            deadline: cwasm_monotonic() &+ UInt64(max(0, timeLeft.nanosecondsClamped)))
        unsafe cwasm_guest_begin(seat.raw, &run)
        defer { unsafe cwasm_guest_end(seat.raw) }
        guard place(input, in: seat) else {
            return (
                .stopped(
                    "the arguments are larger than what this tool may hold: its memory limit is "
                        + "\(Words.bytes(settings.memoryBytesMax)); send less at once"), ""
            )
        }
        let outcome = instantiateAndCall(seat)
        var count = 0
        let log = unsafe cwasm_guest_log(seat.raw, &count)
        guard let log = unsafe log, count > 0 else { return (outcome, "") }
        return (outcome, unsafe String(decoding: UnsafeBufferPointer(start: log, count: count), as: UTF8.self))
    }

    private func place(_ input: GuestInput, in seat: Seat) -> Bool {
        seat.inputBytes = input.count
        guard input.count > 0 else { return true }
        guard let start = unsafe cwasm_guest_input(seat.raw, input.count) else { return false }
        var room = unsafe UnsafeMutableRawBufferPointer(start: start, count: input.count)
        func put(_ bytes: UnsafeRawBufferPointer) {
            unsafe room.copyMemory(from: bytes)
            unsafe room = UnsafeMutableRawBufferPointer(rebasing: room[bytes.count...])
        }
        unsafe input.head.withUnsafeBytes { unsafe put($0) }
        if let body = input.body { unsafe body.withUnsafeReadableBytes { unsafe put($0) } }
        unsafe input.tail.withUnsafeBytes { unsafe put($0) }
        return true
    }

    private func instantiateAndCall(_ seat: Seat) -> GuestOutcome {
        let store = Store(engine: module.engine, seat: seat, memoryBytesMax: module.settings.memoryBytesMax)
        if module.wantsWASI, let problem = unsafe grant(store.context, seat) { return .stopped(problem) }
        var instance = wasmtime_instance_t()
        var trap: OpaquePointer?
        let problem = unsafe wasmtime_instance_pre_instantiate(module.instantiator, store.context, &instance, &trap)
        if unsafe problem != nil || trap != nil {
            return unsafe explain(problem, trap, store.context, nil, seat)
        }
        for name in module.initializers {
            if let outcome = unsafe invoke(name, store.context, &instance, seat).failure { return outcome }
        }
        let (code, failure) = unsafe invoke(export, store.context, &instance, seat)
        if let failure { return failure }
        return answer(code, seat)
    }

    private func invoke(
        _ name: String, _ context: OpaquePointer, _ instance: inout wasmtime_instance_t, _ seat: Seat
    ) -> (code: Int32, failure: GuestOutcome?) {
        var found = unsafe wasmtime_extern_t()
        var name = name
        let exists = name.withUTF8 { text in
            unsafe text.withMemoryRebound(to: CChar.self) { text in
                unsafe wasmtime_instance_export_get(context, &instance, text.baseAddress, text.count, &found)
            }
        }
        guard exists, unsafe found.kind == UInt8(CWASM_EXTERN_FUNC) else {
            return (0, .stopped("the tool's module has no function '\(name)'"))
        }
        // One slot for a result; two for `hs_init`, whose arguments are zeros.
        var slots = unsafe [wasmtime_val_raw_t(), wasmtime_val_raw_t()]
        var trap: OpaquePointer?
        let problem = unsafe wasmtime_func_call_unchecked(context, &found.of.func, &slots, slots.count, &trap)
        if unsafe problem != nil || trap != nil {
            return (0, unsafe explain(problem, trap, context, instance, seat))
        }
        return (unsafe slots[0].i32, nil)
    }

    /// What the guest left behind after it returned.
    private func answer(_ code: Int32, _ seat: Seat) -> GuestOutcome {
        var count = 0
        if let text = unsafe cwasm_guest_error(seat.raw, &count), code != 0 {
            return .complaint(unsafe String(decoding: UnsafeBufferPointer(start: text, count: count), as: UTF8.self))
        }
        guard code == 0 else { return .complaint("the tool returned the code \(code) and said nothing more") }
        let bytes = unsafe UnsafeRawBufferPointer(start: cwasm_guest_output(seat.raw, &count), count: count)
        var output = ByteBufferAllocator().buffer(capacity: count)
        unsafe output.writeBytes(bytes)
        return .output(output)
    }

    /// Gives a guest the WASI context that its grants allow; words when a granted directory is not there.
    private func grant(_ context: OpaquePointer, _ seat: Seat) -> String? {
        let grants = module.settings.grants
        let configuration = unsafe wasi_config_new()
        let guest = unsafe UnsafeMutableRawPointer(seat.raw)
        unsafe wasi_config_set_stdout_custom(configuration, { unsafe cwasm_guest_print($0!, $1!, $2) }, guest, nil)
        unsafe wasi_config_set_stderr_custom(configuration, { unsafe cwasm_guest_print($0!, $1!, $2) }, guest, nil)
        if !grants.environment.isEmpty { unsafe setEnvironment(configuration!, grants.environment) }
        for directory in grants.directories
        where unsafe !wasi_config_preopen_dir(configuration, directory.host, directory.guest, !directory.readOnly) {
            unsafe wasi_config_delete(configuration)
            return "the directory granted to this tool as \(directory.guest) cannot be opened; tell the operator"
        }
        if let problem = unsafe wasmtime_context_set_wasi(context, configuration) {
            return "the tool could not be prepared: \(unsafe takeMessage(error: problem))"
        }
        return nil
    }

    private func setEnvironment(_ configuration: OpaquePointer, _ environment: [String: String]) {
        let pairs = environment.sorted { $0.key < $1.key }
        let names = unsafe pairs.map { unsafe copy($0.key) }
        let values = unsafe pairs.map { unsafe copy($0.value) }
        let texts = unsafe names + values
        defer { for index in unsafe texts.indices { unsafe texts[index].deallocate() } }
        var nameList: [UnsafePointer<CChar>?] = unsafe names.map { unsafe UnsafePointer($0) }
        var valueList: [UnsafePointer<CChar>?] = unsafe values.map { unsafe UnsafePointer($0) }
        // The library copies the texts.
        _ = unsafe wasi_config_set_env(configuration, pairs.count, &nameList, &valueList)
    }

    private func copy(_ text: String) -> UnsafeMutablePointer<CChar> {
        let bytes = text.utf8CString
        let place = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        for (index, byte) in bytes.enumerated() { unsafe place[index] = byte }
        return unsafe place
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime
internal import GatewayCore

extension GuestRun {
    /// Turns what the library reports into an outcome. Consumes `problem` and `trap`.
    func explain(
        _ problem: OpaquePointer?, _ trap: OpaquePointer?, _ context: OpaquePointer, _ instance: wasmtime_instance_t?,
        _ seat: Seat
    ) -> GuestOutcome {
        var code: UInt8 = 255
        var status: Int32 = -1
        var message = ""
        if let trap = unsafe trap {
            if unsafe !wasmtime_trap_code(trap, &code) { code = 255 }
            unsafe wasm_trap_delete(trap)
        }
        if let problem = unsafe problem {
            if unsafe !wasmtime_error_exit_status(problem, &status) { status = -1 }
            message = unsafe takeMessage(error: problem)
        }
        let stop = unsafe cwasm_guest_stop(seat.raw)
        let denied = unsafe cwasm_guest_denied(seat.raw)
        switch stop {
        case CWASM_STOP_DEADLINE: return .overTime
        case CWASM_STOP_CANCELLED: return .cancelled
        case CWASM_STOP_OUTPUT:
            return .stopped(
                "the tool's answer was larger than its limit of \(Words.bytes(module.settings.outputBytesMax)) and was "
                    + "dropped; ask for a smaller part")
        case CWASM_STOP_NETWORK:
            return .stopped("the tool wanted to use the network, but this tool has no network grant")
        case CWASM_STOP_VARIABLES:
            return .stopped("the tool wanted to keep more than 1 MiB of variables and was stopped")
        default: break
        }
        if let wish = Words.denied(denied) {
            return .stopped(
                "the tool gave up because it wanted \(wish), which its settings do not allow; tell the operator")
        }
        if status >= 0 { return .stopped("the tool ended with exit status \(status) instead of an answer") }
        guard code != 255 else { return .stopped("the tool could not be run: \(message)") }
        let limit = module.settings.memoryBytesMax
        if let taken = unsafe memoryTaken(context, instance), taken + seat.inputBytes >= limit / 2 {
            return .stopped(
                Words.trap(code) + "; it had taken \(Words.bytes(taken)) and would have needed more than its "
                    + "\(Words.bytes(limit)) memory limit, so ask for less at once")
        }
        return .stopped(Words.trap(code))
    }

    /// How large the guest's memory was when it ended. A refused growth leaves no other trace: the guest is told, and
    /// most give up by an `unreachable`.
    private func memoryTaken(_ context: OpaquePointer, _ instance: wasmtime_instance_t?) -> Int? {
        guard var instance = instance else { return nil }
        var found = unsafe wasmtime_extern_t()
        guard unsafe wasmtime_instance_export_get(context, &instance, "memory", 6, &found),
            unsafe found.kind == UInt8(CWASM_EXTERN_MEMORY)
        else { return nil }
        return unsafe wasmtime_memory_data_size(context, &found.of.memory)
    }
}

enum Words {
    static func trap(_ code: UInt8) -> String {
        switch code {
        case 0: "the tool called itself too deeply and ran out of stack; give it input that is nested less deeply"
        case 1, 2, 3: "the tool crashed: it reached outside its own memory"
        case 4, 5: "the tool crashed: it called a function that is not there"
        case 6, 7, 8: "the tool crashed: it calculated something impossible, such as a division by zero"
        case 9: "the tool gave up in the middle; the arguments may not be what it expects"
        default: "the tool crashed"
        }
    }

    static func denied(_ bits: UInt32) -> String? {
        var wishes: [String] = []
        if bits & UInt32(CWASM_DENIED_CLOCK.rawValue) != 0 { wishes.append("the clock") }
        if bits & UInt32(CWASM_DENIED_RANDOM.rawValue) != 0 { wishes.append("random numbers") }
        return wishes.isEmpty ? nil : wishes.joined(separator: " and ")
    }

    static func bytes(_ count: Int) -> String {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where count >= unit {
            return count % unit == 0 ? "\(count / unit) \(name)" : "\(count / unit).\(count % unit * 10 / unit) \(name)"
        }
        return "\(count) bytes"
    }

    static func time(_ duration: Duration) -> String {
        let milliseconds = Int(duration.milliseconds.rounded())
        return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000) s" : "\(milliseconds) ms"
    }
}

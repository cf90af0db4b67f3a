// Licensed under the Apache License 2.0; see LICENSE.

import CHost
import Glibc

/// Starts keepers, and says in words what became of it.
enum KeeperLaunch {
    /// The gateway's ends of the pipes. Whoever gets them closes them.
    struct Handles: Sendable {
        var keeper: Int32
        var control: Int32
        var input: Int32
        var output: Int32
        var errors: Int32
    }

    /// Enters the keeper's binary with `command` in hand. Whether the command itself runs is told by the keeper's
    /// first report.
    static func start(_ command: ChildCommand, _ settings: ChildSettings) throws(ChildError) -> Handles {
        try check(command)
        var handles = csystem_keeper_handles()
        let commandLine = [command.executable] + command.arguments
        // Sorted, so that two starts of one command look alike.
        let environment = command.environment.map { "\($0.key)=\($0.value)" }.sorted()
        let problem = unsafe withCStrings(commandLine) { commandLine in
            unsafe withCStrings(environment) { environment in
                unsafe settings.keeperExecutable.withCString { executable in
                    unsafe (command.workingDirectory ?? "").withCString { directory in
                        var order = unsafe csystem_keeper_order(
                            executable: executable, directory: directory,
                            end_of_input_grace_ms: milliseconds(settings.endOfInputGrace),
                            terminate_grace_ms: milliseconds(settings.stopGrace), command: commandLine,
                            environment: environment)
                        return unsafe csystem_keeper_start(&order, &handles)
                    }
                }
            }
        }
        switch problem {
        case 0: break
        case E2BIG: throw .commandTooLong
        default: throw .keeperUnavailable(reason: words(for: problem))
        }
        return Handles(
            keeper: handles.pid, control: handles.control, input: handles.standard_input,
            output: handles.standard_output, errors: handles.standard_error)
    }

    /// The words for a start that the keeper reports as refused.
    static func refusal(of command: ChildCommand, problem: Int32, step: Int32) -> ChildError {
        switch step {
        case CSYSTEM_KEEPER_STEP_DIRECTORY:
            return .cannotChangeDirectory(command.workingDirectory ?? "", reason: words(for: problem))
        case CSYSTEM_KEEPER_STEP_EXECUTE:
            switch problem {
            case ENOENT, ENOTDIR: return .commandNotFound(command.executable)
            case EACCES, EPERM, ENOEXEC, EISDIR, ELIBBAD:
                return .notExecutable(command.executable, reason: words(for: problem))
            case E2BIG: return .commandTooLong
            default: return .cannotStart(command.executable, reason: words(for: problem))
            }
        default:
            return .keeperUnavailable(reason: words(for: problem))
        }
    }

    private static func check(_ command: ChildCommand) throws(ChildError) {
        guard !command.executable.isEmpty else { throw .badCommand(reason: "it is empty") }
        for word in [command.executable, command.workingDirectory ?? ""] + command.arguments
        where word.utf8.contains(0) {
            throw .badCommand(reason: "a word of it contains a zero byte")
        }
        for (key, value) in command.environment {
            guard !key.isEmpty, !key.utf8.contains(UInt8(ascii: "=")), !key.utf8.contains(0), !value.utf8.contains(0)
            else { throw .badCommand(reason: "the environment variable \"\(key)\" has an impossible name or value") }
        }
    }

    static func words(for problem: Int32) -> String {
        unsafe String(cString: strerror(problem))
    }

    private static func milliseconds(_ duration: Duration) -> UInt32 {
        let parts = duration.components
        let fine = parts.attoseconds / 1_000_000_000_000_000
        // An hour is more than any grace; the bound keeps the arithmetic far from overflow.
        return UInt32(clamping: min(max(parts.seconds, 0), 3600) * 1000 + max(fine, 0))
    }

    /// The strings as C takes lists of them; good only inside `body`.
    private static func withCStrings<Result>(
        _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers = unsafe strings.map { unsafe strdup($0) }
        unsafe pointers.append(nil)
        defer { for index in unsafe pointers.indices { unsafe free(pointers[index]) } }
        return unsafe pointers.withUnsafeBufferPointer { list in
            // The list has at least its end, so there is a base address.
            unsafe body(list.baseAddress!)
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import CHost
import Glibc
import WasmSandbox

// Which process is this? Two kinds of helper are this same binary under another name, and must be gone from here before
// anything else has begun.
if unsafe csystem_is_keeper(CommandLine.argc, CommandLine.unsafeArgv) != 0 {
    exit(unsafe csystem_keeper_main(CommandLine.argc, CommandLine.unsafeArgv))
}
if CommandLine.arguments.first == CompileChild.processName {
    exit(CompileChild.run(arguments: Array(CommandLine.arguments.dropFirst())))
}
await GatewayCommand.run()

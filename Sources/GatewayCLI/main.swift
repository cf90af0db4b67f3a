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
// The package has a link of this name, instead of a second program of the same size.
if let name = CommandLine.arguments.first?.split(separator: "/").last, name == "validate-config" {
    ValidateConfig.main(Array(CommandLine.arguments.dropFirst()))
} else if CommandLine.arguments.isEmpty {
    // The runtime reads them there, and without them every verb would be the one that serves.
    Terminal.complain("mcp-gateway: /proc is not mounted, and without it nothing here works; mount it first")
    exit(1)
} else {
    await GatewayCommand.run()
}

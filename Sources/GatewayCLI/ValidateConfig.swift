// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Checks a file without starting; the same check as the program of this name.
struct ValidateConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate-config",
        abstract: "Checks a configuration file without starting anything.",
        discussion: """
            Example: mcp-gateway validate-config config/production.toml

            Exit status: 0 the file is right, 78 the gateway would refuse it, 64 wrong usage.
            """)

    @Flag(
        help: "Unset variables, unreadable secrets and absent paths are errors too, as they are for the gateway itself."
    )
    var strict = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Argument(help: "The TOML file.", completion: .file())
    var file: String

    func run() throws {
        HelperProcess.begin("validate")
        let check = ConfigurationCheck.run(
            file: file, strict: strict, json: json, environment: ProcessEnvironment.current(), installation: .current())
        for line in check.complaints { Terminal.complain(line) }
        for line in check.output { Terminal.say(line) }
        if check.exitCode != 0 { throw ExitCode(check.exitCode) }
    }
}

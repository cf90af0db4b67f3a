// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon
import Glibc

@main
struct ValidateConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate-config",
        abstract: "Checks a configuration file of the gateway without starting anything.",
        discussion: """
            Example: validate-config --strict /etc/mcp-gateway/production.toml

            Says all that is wrong at once, as FILE:LINE: KEY: what is wrong, and what would be right.
            Exit status: 0 the file is right, 78 the gateway would refuse it, 64 wrong usage.
            """)

    @Flag(
        help: "Unset variables, unreadable secrets and absent paths are errors too, as they are for the gateway itself."
    )
    var strict = false

    @Flag(help: "Print one JSON object.")
    var json = false

    @Argument(help: "The TOML file.")
    var file: String

    func run() throws {
        let check = ConfigurationCheck.run(
            file: file, strict: strict, json: json, environment: ProcessEnvironment.current(), installation: .current())
        for line in check.complaints { say(line, to: STDERR_FILENO) }
        for line in check.output { say(line, to: STDOUT_FILENO) }
        if check.exitCode != 0 { throw ExitCode(check.exitCode) }
    }

    /// Past the C library's streams, whose globals Swift rightly distrusts. A reader that has gone away is no concern
    /// of ours.
    private func say(_ line: String, to descriptor: Int32) {
        var bytes = Array((line + "\n").utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 { bytes = bytes.dropFirst(written) } else if errno != EINTR { return }
        }
    }
}

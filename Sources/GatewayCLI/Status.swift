// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// One screen from a running gateway.
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how the running gateway is.",
        discussion: """
            Example: mcp-gateway status

            Asks over the control socket, so it works whatever state the listener is in.
            Exit status: 0 healthy or degraded, 1 unhealthy or not running.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print the JSON of /health.")
    var json = false

    func run() async throws {
        HelperProcess.begin("status")
        let settings = try configuration.load(strict: false)
        do throws(StartError) {
            let answer = try await ControlClient(socketPath: settings.admin.controlSocket).health()
            Terminal.say(json ? answer.text : answer.screen)
            if !answer.canServe { throw StartError("the gateway cannot accept calls") }
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
            throw ExitCode(1)
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// One screen from a running gateway.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how the running gateway is, on one screen.",
        discussion: """
            Example: mcp-gateway status --all

            Asks over the control socket, so it works whatever state the listener is in. BREAKER says what a breaker
            does that does not let calls through; RUN and WAIT are calls to the upstream now, STORED those that wait on
            disk.
            Exit status: 0 healthy or degraded, 1 unhealthy or not running.
            """)

    @OptionGroup var options: OperatorOptions

    @Flag(help: "Show also the components that are well.")
    var all = false

    func run() throws {
        try options.run("status") { client throws(StartError) in try client.status(showsAll: all) }
    }
}

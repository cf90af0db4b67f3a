// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Has the running gateway read its configuration again.
struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running gateway read its configuration again: all of it, or nothing.",
        discussion: """
            Example: mcp-gateway reload

            Waits until it is in force, and says what has changed. A file with mistakes changes nothing; every mistake
            is a line.
            Exit status: 0 in force, 1 refused or no gateway runs.
            """)

    @OptionGroup var options: OperatorOptions

    func run() throws {
        try options.run("reload") { client throws(StartError) in try client.reload() }
    }
}

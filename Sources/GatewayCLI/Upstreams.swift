// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about MCP servers behind the gateway.
struct Upstreams: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstreams",
        abstract: "What has to do with the MCP servers behind the gateway.",
        subcommands: [Import.self])

    /// Turns a client's list of servers into configuration.
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract: "Prints the servers of a desktop client or an editor as tables of our configuration.",
            discussion: """
                Example: mcp-gateway upstreams import ~/.config/Claude/claude_desktop_config.json >> gateway.toml

                Reads JSON with mcpServers or servers in it; comments and trailing commas do no harm. What looks like \
                a secret is not printed: a variable stands in its place, and a comment says which one to set.

                Exit status: 0 something was imported, 1 nothing could be, 64 wrong usage.
                """)

        @Flag(help: "Print secrets as they stand in the file.")
        var withSecrets = false

        @Argument(help: "The JSON file.")
        var file: String

        func run() throws {
            HelperProcess.begin("upstreams")
            let imported = ServersImport.run(file: file, withSecrets: withSecrets)
            for line in imported.complaints { Terminal.complain(line) }
            if let output = imported.output { Terminal.say(output) }
            if imported.exitCode != 0 { throw ExitCode(imported.exitCode) }
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about MCP servers behind the gateway.
struct Upstreams: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstreams",
        abstract: "Shows, tries and imports the MCP servers behind the gateway.",
        discussion: """
            Example: mcp-gateway upstreams check erp

            Exit status: 0 done, 1 not possible, something is wrong, or no gateway runs, 64 wrong usage.
            """,
        subcommands: [List.self, Check.self, Import.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows all upstreams of the running gateway, and how calls go to them.",
            discussion: "Example: mcp-gateway upstreams list --json")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("upstreams") { client throws(StartError) in try client.upstreamsList() }
        }
    }

    /// Tries them now.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Has the running gateway try its upstreams now, and send what is stored for them.",
            discussion: """
                Example: mcp-gateway upstreams check erp

                Takes some seconds when one does not answer. SENT are stored calls that went out, STORED those that
                still wait.
                Exit status: 0 all healthy, 1 one is not, or no gateway runs.
                """)

        @OptionGroup var options: OperatorOptions

        @Argument(help: "Only this one counts. All of them are tried.")
        var name: String?

        func run() throws {
            try options.run("upstreams") { client throws(StartError) in try client.upstreamsCheck(name) }
        }
    }

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

        @Argument(help: "The JSON file.", completion: .file())
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

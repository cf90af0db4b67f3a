// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about tools.
struct Tools: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tools",
        abstract: "Shows the tools there are, and takes single ones out.",
        discussion: """
            Example: mcp-gateway tools list

            The running gateway answers, over its control socket.
            Exit status: 0 done, 1 not possible or no gateway runs, 64 wrong usage.
            """,
        subcommands: [List.self, Inspect.self, Disable.self, Enable.self])

    /// The name of a tool.
    struct Name: ParsableArguments {
        @Argument(help: "The tool's name, as clients see it.")
        var name: String

        func validate() throws {
            if name.isEmpty { throw ValidationError("the name of a tool is wanted") }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists all tools, also those that are taken out.",
            discussion: "Example: mcp-gateway tools list --json")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("tools") { client throws(StartError) in try client.toolsList() }
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows one tool: whose it is, and what becomes of its calls now.",
            discussion: "Example: mcp-gateway tools inspect erp__create_ticket")

        @OptionGroup var tool: Name
        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("tools") { client throws(StartError) in try client.toolsInspect(tool.name) }
        }
    }

    struct Disable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes a tool out: it is not listed, and calls of it are refused.",
            discussion: "Example: mcp-gateway tools disable erp__create_ticket --for 30m")

        @OptionGroup var tool: Name
        @OptionGroup var lasting: LastingOption
        @OptionGroup var options: OperatorOptions

        func run() throws {
            let lasts = try lasting.words
            try options.run("tools") { client throws(StartError) in
                try client.toolsDisable(tool.name, lasts: lasts)
            }
        }
    }

    struct Enable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes a tool in again.",
            discussion: "Example: mcp-gateway tools enable erp__create_ticket")

        @OptionGroup var tool: Name
        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("tools") { client throws(StartError) in try client.toolsEnable(tool.name) }
        }
    }
}

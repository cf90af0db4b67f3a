// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about circuit breakers.
struct Breaker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "breaker",
        abstract: "Shows and orders the circuit breakers of upstreams.",
        discussion: """
            Example: mcp-gateway breaker enable --upstream erp --force --for 30m

            Closed: calls go. Open: calls are refused at once. Half-open: one call tries.
            Exit status: 0 done, 1 not possible or no gateway runs, 64 wrong usage.
            """,
        subcommands: [List.self, Enable.self, Disable.self])

    /// Which of them.
    struct Choice: ParsableArguments {
        @Option(help: "Only this upstream's. Default: all.")
        var upstream: String?
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what every breaker does.",
            discussion: "Example: mcp-gateway breaker list")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("breaker") { client throws(StartError) in try client.breakerList() }
        }
    }

    struct Enable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Arms breakers, and opens at once those whose upstreams fail too often.",
            discussion: "Example: mcp-gateway breaker enable --upstream erp --force --for 30m")

        @OptionGroup var choice: Choice

        @Flag(help: "Open healthy ones too, and hold them open.")
        var force = false

        @OptionGroup var lasting: LastingOption
        @OptionGroup var options: OperatorOptions

        func validate() throws {
            guard force || lasting.lasts == nil else {
                throw ValidationError("--for goes with --force: armed is how a breaker is anyway")
            }
        }

        func run() throws {
            let lasts = try lasting.words
            try options.run("breaker") { client throws(StartError) in
                try client.breakerEnable(upstream: choice.upstream, force: force, lasts: lasts)
            }
        }
    }

    struct Disable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Closes breakers and keeps them closed: calls go, whatever comes of it.",
            discussion: "Example: mcp-gateway breaker disable --upstream erp --for 30m")

        @OptionGroup var choice: Choice
        @OptionGroup var lasting: LastingOption
        @OptionGroup var options: OperatorOptions

        func run() throws {
            let lasts = try lasting.words
            try options.run("breaker") { client throws(StartError) in
                try client.breakerDisable(upstream: choice.upstream, lasts: lasts)
            }
        }
    }
}

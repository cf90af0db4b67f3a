// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The first look at a gateway in trouble, and a look ahead at the next outage.
struct DoctorVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Says in words what is wrong, the worst first, each with the next command.",
        discussion: """
            Example: mcp-gateway doctor --all

            Works with a gateway that runs, beside one that does not answer, and where none will start. Changes nothing.
            """,
        subcommands: [Examine.self, Offline.self, Drill.self], defaultSubcommand: Examine.self)

    struct Examine: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "examine",
            abstract: "Looks at service, port, health, upstreams, queue, database, disk, logs, clock and changes.",
            discussion: """
                Example: mcp-gateway doctor --json

                Exit status: 0 nothing needs anybody, 1 something does.
                """)

        @OptionGroup var configuration: ConfigurationOption

        @Flag(help: "Show also what is well.")
        var all = false

        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            HelperProcess.begin("doctor")
            try OperatorVerb.run(json: json) { () throws(StartError) in
                Doctor(
                    path: configuration.path, environment: ProcessEnvironment.current(), installation: .current()
                ).examine(showsAll: all)
            }
        }
    }

    struct Offline: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What would go on if the cable were pulled now, and for how long.",
            discussion: """
                Example: mcp-gateway doctor offline

                Needs a running gateway. Servers at addresses of this machine, and those that the gateway starts itself,
                count as there as long as they answer now; all others as away.
                Exit status: 0 every tool goes on in some way, 1 some would not, or something runs out soon.
                """)

        @OptionGroup var options: OperatorOptions

        @Option(
            name: .customLong("away"), parsing: .upToNextOption,
            help: "Upstreams that count as away although their address is of this machine, as that of a tunnel is.")
        var tunnels: [String] = []

        func run() throws {
            HelperProcess.begin("doctor")
            let readiness = OfflineReadiness(
                settings: try options.configuration.settingsForOperators(), tunnels: tunnels)
            try OperatorVerb.run(json: options.json) { () throws(StartError) in try readiness.answer() }
        }
    }

    struct Drill: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cuts upstreams off for some minutes, then says what became of the calls.",
            discussion: """
                Example: mcp-gateway doctor drill erp --for 5m

                Their breakers are held open, as in an outage; nothing is sent to them. That ends by itself after the
                time, also if this command is ended before; Ctrl-C ends it at once. What others order about them
                meanwhile stays as they want it. Then waits until what was stored has been sent.
                Exit status: 0 no call was lost or refused, 1 some were, or not possible.
                """)

        @OptionGroup var options: OperatorOptions

        @Option(name: .customLong("for"), help: "How long, such as 30s or 5m; at most 24h.")
        var length: String

        @Argument(help: "The upstreams.")
        var upstreams: [String]

        func validate() throws {
            guard OrderWords.lastingADay(length) != nil else {
                throw ValidationError("--for takes a time such as 30s or 5m, at most 24h, not '\(length)'")
            }
            guard !upstreams.isEmpty else { throw ValidationError("name at least one upstream") }
        }

        func run() throws {
            HelperProcess.begin("doctor")
            let drill = OfflineDrill(settings: try options.configuration.settingsForOperators())
            try OperatorVerb.run(json: options.json) { () throws(StartError) in
                try drill.run(upstreams, length: length) { words in
                    if Terminal.isWatched { Terminal.complain(words) }
                }
            }
        }
    }
}

// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about how often requests may begin.
struct Limit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limit",
        abstract: "Shows and orders how often requests of all callers together may begin.",
        discussion: """
            Example: mcp-gateway limit set 10/s --burst 20 --for 30m

            Limits of single callers and tools stand in the configuration.
            Exit status: 0 done, 1 not possible or no gateway runs, 64 wrong usage.
            """,
        subcommands: [Show.self, SetRate.self, Clear.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what is in force.", discussion: "Example: mcp-gateway limit show")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("limit") { client throws(StartError) in try client.limitShow() }
        }
    }

    struct SetRate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set", abstract: "Limits instead of what the configuration says.",
            discussion: "Example: mcp-gateway limit set 10/s --burst 20 --for 30m")

        @Argument(help: "How often, such as 10/s, 30/m, or 0.5 for one in two seconds.")
        var rate: String

        @Option(help: "How many may come at once after a quiet time. Default: as many as in a second.")
        var burst: Int?

        @OptionGroup var lasting: LastingOption
        @OptionGroup var options: OperatorOptions

        func validate() throws {
            _ = try perSecond
            if let burst, !(1...1_000_000).contains(burst) {
                throw ValidationError("--burst takes a number from 1 to 1000000")
            }
        }

        private var perSecond: Double {
            get throws {
                guard let perSecond = OrderWords.perSecond(rate) else {
                    throw ValidationError("a rate is 10/s, 30/m, 100/h, or a number for each second, not '\(rate)'")
                }
                return perSecond
            }
        }

        func run() throws {
            let (perSecond, lasts) = (try perSecond, try lasting.words)
            try options.run("limit") { client throws(StartError) in
                try client.limitSet(perSecond: perSecond, burst: burst, lasts: lasts)
            }
        }
    }

    struct Clear: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Returns to what the configuration says.", discussion: "Example: mcp-gateway limit clear")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("limit") { client throws(StartError) in try client.limitClear() }
        }
    }
}
